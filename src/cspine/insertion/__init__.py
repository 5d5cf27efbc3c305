"""Virtual fractures in real CT: the phantom's fractures, put into intact bone by warping measured Hounsfield units."""
