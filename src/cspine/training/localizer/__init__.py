"""Training of the localizer: a 3-D U-Net that labels vertebrae and regresses coordinates of their frames."""
