package consumer

// Sign returns the token of a delivery.
func Sign(secret []byte, full, epoch string, offset uint64) string {
	return sign(secret, ticket{full, epoch, offset})
}

// Verify reads a token.
func Verify(secret []byte, token string) (full, epoch string, offset uint64, err error) {
	t, err := verify(secret, token)
	return t.full, t.epoch, t.offset, err
}

// Parse reads the name of a channel of deliveries.
func Parse(full string) (name, source string, err error) { return parse(full) }
