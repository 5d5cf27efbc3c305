"""Training of the level network: which of C1 to C7 are fractured, from views of each vertebra.

Curriculum: a fracture covers about 1 % of the pixels of a vertebra's views, and about 1 in 12 vertebrae is fractured.
Trained on complete cases from the first epoch, the network would learn the prevalence of each level before the
appearance of fractures. Training therefore has three stages:

1. *Patch pretraining* (`patch_pretraining`): the 2-D encoder marks the fracture in patches of single planes, half of
   them of intact vertebrae.
2. *Class-balanced resampling* (`vertebra_resampling`): training cases are composed of vertebrae of different patients,
   nearly half of them fractured.
3. *Fine-tuning*: the remaining epochs train on complete cases with their natural prevalence.

After each epoch the network is evaluated on a *validation set* of other patients, which selects the epoch. The same
patients then fit calibration and operating points (`calibration`).
"""
