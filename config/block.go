package config

import "myelin/auth"

// Block is who is kept out by this node's configuration, whatever the API says.
type Block struct {
	Users     []string `yaml:"users" default:"" form:"filled" doc:"Users that may not connect."`
	Addresses []string `yaml:"addresses" default:"" form:"addresses" doc:"Addresses and ranges (CIDR) whose clients may not connect, such as 192.0.2.7 or 2001:db8::/32."`
}

// checkAddresses checks an address, or a range of them.
func checkAddresses(text string) *fault {
	if _, err := auth.ParsePrefix(text); err != nil {
		return faultf("%v", err)
	}
	return nil
}
