"""Views: a volume to small images; intensity window, sagittal and curved images, level views, image quality."""
