package server

import "myelin/hub"

// laneOf reads a word of the configuration.
func laneOf(word string) hub.Lane {
	switch word {
	case "alarm":
		return hub.LaneAlarm
	case "bulk":
		return hub.LaneBulk
	}
	return hub.LaneOrdinary
}

// slowOf reads a word of the configuration.
func slowOf(word string) hub.Slow {
	switch word {
	case "conflate":
		return hub.SlowConflate
	case "drop_oldest":
		return hub.SlowDropOldest
	case "resync":
		return hub.SlowResync
	}
	return hub.SlowDisconnect
}
