"""Models that others have made, read as data: nothing stored in their files is executed."""
