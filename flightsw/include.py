"""`python -m flightsw.include` prints the folder to give a C compiler with -I for tasks of one's own."""

from flightsw._native import include_dir

if __name__ == "__main__":
    print(include_dir())
