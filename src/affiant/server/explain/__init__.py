"""Why was this refused? The ladder walked once more, dry: nothing is claimed, stored or fetched."""
