// A runtime in a few lines: calls one network's plugins by the reference library, with its result cache.
//
//	libcni-client ADD|CHECK|DEL CONFLIST CONTAINERID NETNS IFNAME
//
// Environment: CNI_PATH, and CACHE_DIR for the library's cache. ADD prints the result.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/libcni"
)

func run() error {
	if len(os.Args) != 6 {
		return fmt.Errorf("usage: %s ADD|CHECK|DEL CONFLIST CONTAINERID NETNS IFNAME", os.Args[0])
	}
	ctx := context.Background()
	list, err := libcni.ConfListFromFile(os.Args[2])
	if err != nil {
		return err
	}
	cni := libcni.NewCNIConfigWithCacheDir(filepath.SplitList(os.Getenv("CNI_PATH")), os.Getenv("CACHE_DIR"), nil)
	rt := &libcni.RuntimeConf{ContainerID: os.Args[3], NetNS: os.Args[4], IfName: os.Args[5]}
	switch os.Args[1] {
	case "ADD":
		if _, err := cni.ValidateNetworkList(ctx, list); err != nil {
			return err
		}
		result, err := cni.AddNetworkList(ctx, list, rt)
		if err != nil {
			return err
		}
		return result.Print()
	case "CHECK":
		return cni.CheckNetworkList(ctx, list, rt)
	case "DEL":
		return cni.DelNetworkList(ctx, list, rt)
	}
	return fmt.Errorf("unknown command %q: ADD, CHECK or DEL", os.Args[1])
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
