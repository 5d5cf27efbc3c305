"""The level network on real bone: alarms on intact necks, and virtual fractures in them."""
