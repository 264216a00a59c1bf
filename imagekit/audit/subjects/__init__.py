"""Subjects from files, trees and images: what `imagekit audit` judges."""

from imagekit.audit.subjects.examined import Examined, Options
from imagekit.audit.subjects.examining import examine
from imagekit.audit.subjects.program import Wishes

__all__ = ["Examined", "Options", "Wishes", "examine"]
