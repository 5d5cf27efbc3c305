"""Views: a volume to small images; the intensity window, sagittal and curved images, level views, image quality."""
