"""A sink that commits before it inserts."""

from tests.faults.matrix import broken

if __name__ == "__main__":
    broken.commit_before_insert()
    broken.run()
