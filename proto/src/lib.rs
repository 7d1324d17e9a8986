//! What heartsay agents say to one another.
