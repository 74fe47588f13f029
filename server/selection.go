package server

import (
	"myelin/config"
	"myelin/hub"
)

// numericIDs translates whom ids are for.
func numericIDs(s config.Switch) hub.NumericIDs {
	switch s {
	case config.On:
		return hub.NumericForAll
	case config.Off:
		return hub.NumericForNobody
	default:
		return hub.NumericForText
	}
}
