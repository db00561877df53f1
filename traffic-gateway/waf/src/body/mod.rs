//! Request bodies: read piece by piece into named values, bounded everywhere.
