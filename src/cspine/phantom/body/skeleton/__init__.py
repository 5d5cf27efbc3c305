"""The skeleton below the neck: thoracic and lumbar spine, rib cage, shoulder girdle, pelvis."""
