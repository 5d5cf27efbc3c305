"""The server: studies come in by DICOM or HTTP, are predicted, and their results go out.

Research use only, not a medical device.
"""
