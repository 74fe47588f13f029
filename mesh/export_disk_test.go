package mesh

// StopStoring has the embedded server say why it stops to store, and stop.
func StopStoring(n *Network, text string, stop bool) {
	n.embedded.voice.Errorf("%s", text)
	if stop {
		_ = n.embedded.ShutdownJetStream()
	}
}
