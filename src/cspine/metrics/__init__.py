"""Pure statistics: arrays in, numbers out; bootstrap, DeLong, calibration, FROC, the RSNA 2022 metric."""
