// What agent/tests/clients.rs asks of the client for Go: SOCKET and then what to do.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"time"

	"shop/heartsay"
)

func main() {
	ctx, agent, verb, words := context.Background(), heartsay.New(os.Args[1]), os.Args[2], os.Args[3:]
	switch verb {
	case "ask":
		all := must(agent.Members(ctx, nil))
		web := must(agent.Members(ctx, url.Values{"tag": {"role=web"}, "status": {"alive", "suspect"}, "evidence": {"true"}}))
		var evidence struct {
			Phi float64 `json:"phi_threshold"`
		}
		check(json.Unmarshal(web.Members[0].Evidence, &evidence))
		_, none := agent.Member(ctx, words[1])
		_, wrong := agent.Members(ctx, url.Values{"status": {"wrong"}})
		var absent, refused *heartsay.Refused
		if !errors.As(none, &absent) || absent.Status != 404 || !errors.As(wrong, &refused) {
			panic(fmt.Sprint(none, wrong))
		}
		history := []string{}
		for _, entry := range must(agent.History(ctx, url.Values{"member": {words[0]}, "type": {"member-join"}})).Entries {
			history = append(history, entry.Type)
		}
		say(map[string]any{
			"history": history, "members": names(all), "web": names(web), "evidence": evidence.Phi,
			"one": must(agent.Member(ctx, words[0])).Status, "other": nil,
			"me": must(agent.Self(ctx)).Member.Name, "quorum": must(agent.Quorum(ctx)).Quorum,
			"refused": []any{refused.Status, refused.Detail},
		})
	case "watch":
		check(agent.Watch(ctx, url.Values{"type": words}, func(line heartsay.Line) error {
			say(map[string]any{"type": line.Type, "index": line.Index, "name": line.Name, "generation": line.Generation})
			return nil
		}))
	case "wait":
		seconds := must(strconv.ParseFloat(words[1], 64))
		ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds*float64(time.Second)))
		defer cancel()
		err := agent.Wait(ctx, func(members map[string]heartsay.Member, me heartsay.Self) bool {
			count := 0
			for _, member := range members {
				if member.Status == "alive" && member.Tags["role"] == "db" {
					count++
				}
			}
			return fmt.Sprint(count) == words[0] && me.Joined && me.Quorum.Quorum == "held"
		})
		if errors.Is(err, context.DeadlineExceeded) {
			fmt.Println("time is up")
		} else {
			check(err)
			fmt.Println("met")
		}
	case "register":
		port := must(strconv.Atoi(words[1]))
		err := agent.Register(ctx, map[string]any{"name": words[0], "port": port, "tags": map[string]string{"v": "1"}})
		var refused *heartsay.Refused
		if errors.As(err, &refused) {
			fmt.Println("refused", refused.Status)
		}
	case "guard":
		for {
			cmd := exec.Command(words[0], words[1:]...)
			cmd.Stdout = os.Stdout
			err := agent.Guard(ctx, cmd, 5*time.Second)
			if err != heartsay.QuorumLost {
				fmt.Println("ended with", cmd.ProcessState.ExitCode())
				return
			}
		}
	}
}

func names(all heartsay.Members) (names []string) {
	for _, member := range all.Members {
		names = append(names, member.Name)
	}
	return names
}

func say(what map[string]any) { check(json.NewEncoder(os.Stdout).Encode(what)) }

func must[T any](answer T, err error) T {
	check(err)
	return answer
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
