"""Write the questions of ``book/questions.yml`` into the notebooks: python book/questions.py, or make questions."""

from __future__ import annotations

import nbformat

from ktbook import questions

if __name__ == "__main__":
    chapters = questions.load()
    for chapter, path in questions.notebooks().items():
        notebook = questions.put(path, chapters[chapter])
        if notebook != nbformat.read(path, as_version=4):
            nbformat.write(notebook, path)
            print(path.name)
