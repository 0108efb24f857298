"""What a study is made of, as text and hashes: whether it is the study that a store holds."""
