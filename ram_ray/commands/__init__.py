"""Groups of commands, one file each; `ram_ray.cli` adds them."""
