"""The files of ``mappings/`` and ``profiles/`` as values: facts about the world that are no program text.

They are read and checked once; a site overlay directory wins file by file; every error names file and key.
"""

from afterdose.content.content import Content, load_content

__all__ = ["Content", "load_content"]
