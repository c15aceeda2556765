"""A processor that ignores the watermark."""

from tests.faults.matrix import broken

if __name__ == "__main__":
    broken.ignore_watermark()
    broken.run()
