"""Pictures of one study: overlays, axial slices, thumbnails and the labeled spine."""
