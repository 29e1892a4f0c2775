// git by go-git, in the repository of the working folder: with_go_git VERB URL [ARGUMENT...]
//
// The verbs print what the server has to say; a refusal ends the program with 1.
package main

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"strconv"

	git "github.com/go-git/go-git"
	"github.com/go-git/go-git/config"
	"github.com/go-git/go-git/plumbing"
)

// The server's URL has the credentials in it, which go-git takes from there.
func remote(url string) (*git.Remote, error) {
	repository, err := git.PlainOpen(".")
	if err != nil {
		return nil, err
	}
	return git.NewRemote(repository.Storer, &config.RemoteConfig{Name: "anonymous", URLs: []string{url}}), nil
}

func push(url string, refspecs ...string) error {
	there, err := remote(url)
	if err != nil {
		return err
	}
	options := git.PushOptions{RemoteName: "anonymous", Progress: os.Stdout}
	for _, refspec := range refspecs {
		options.RefSpecs = append(options.RefSpecs, config.RefSpec(refspec))
	}
	return there.Push(&options)
}

func clone(url, folder string, depth ...string) error {
	options := git.CloneOptions{URL: url}
	if len(depth) > 0 {
		options.Depth, _ = strconv.Atoi(depth[0])
	}
	_, err := git.PlainClone(folder, false, &options)
	return err
}

func fetch() error {
	repository, err := git.PlainOpen(".")
	if err != nil {
		return err
	}
	return repository.Fetch(&git.FetchOptions{RemoteName: "origin"})
}

func lsRemote(url string) error {
	there, err := remote(url)
	if err != nil {
		return err
	}
	refs, err := there.List(&git.ListOptions{})
	if err != nil {
		return err
	}
	targets := make(map[plumbing.ReferenceName]plumbing.Hash)
	for _, ref := range refs {
		targets[ref.Name()] = ref.Hash()
	}
	sort.Slice(refs, func(a, b int) bool { return refs[a].Name() < refs[b].Name() })
	for _, ref := range refs {
		target := ref.Hash()
		if ref.Type() == plumbing.SymbolicReference {
			target = targets[ref.Target()]
		}
		fmt.Printf("%s\t%s\n", target, ref.Name())
	}
	return nil
}

func run(verb, url string, arguments []string) error {
	switch verb {
	case "push":
		return push(url, arguments...)
	case "clone":
		return clone(url, arguments[0], arguments[1:]...)
	case "fetch":
		return fetch()
	case "delete":
		return push(url, ":refs/heads/"+arguments[0])
	case "ls-remote":
		return lsRemote(url)
	case "version":
		fmt.Println("of Debian")
		return nil
	}
	return fmt.Errorf("no verb %s", verb)
}

func main() {
	err := run(os.Args[1], os.Args[2], os.Args[3:])
	if err != nil && !errors.Is(err, git.NoErrAlreadyUpToDate) {
		fmt.Println("refused", err)
		os.Exit(1)
	}
}
