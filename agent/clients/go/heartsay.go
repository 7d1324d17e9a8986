// Package heartsay asks the agent of this host who is in the cluster and who is alive. See docs/clients.md and docs/openapi.yaml.
package heartsay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Agent is the agent at one address. Several goroutines may use it.
type Agent struct {
	base   string
	client *http.Client
}

// Refused is the error when the agent says no. Any other error of a question means that no agent answers.
type Refused struct {
	Status int
	Detail string
}

func (r *Refused) Error() string { return r.Detail }

// Members is the view of the agent. While it has not Joined members may be missing; while Isolated those not alive may be well.
type Members struct {
	Self             string
	Index            uint64
	Joined, Isolated bool
	Members          []Member
}

// Member is one member as the agent sees it. Evidence comes where it is asked for.
type Member struct {
	Name, Status, Address, Zone, Since string
	HostID                             string `json:"host_id"`
	Generation, Heartbeat              uint64
	Tags                               map[string]string
	Beating, Degraded                  bool
	Phi                                float64
	Reachable, Fenced                  *bool
	Accusers                           []string
	Evidence                           json.RawMessage
}

// Quorum says whether the agent stands on the side that may act: "held". Count LeftSeconds from before the question.
type Quorum struct {
	Quorum, Reason, Since     string
	Present, Needed, Expected uint32
	LeftSeconds               *float64 `json:"left_seconds"`
	Fence                     bool
}

// Self is the agent, and its cluster as a whole.
type Self struct {
	Member                    Member
	Cluster, Started          string
	Joined, Isolated, Leaving bool
	Quorum                    Quorum
	Conditions                []string
}

// Service is one instance of a service, as a line of the stream tells of it. Port is 0 where it has none.
type Service struct {
	Name, ID, Member, Address, Health string
	Port                              uint16
	Tags                              map[string]string
}

// Line is one line of the stream, or one entry of the history. Of the Member it holds what the line says.
type Line struct {
	Member
	Type, Time, Reason, State, Direction string
	Index                                uint64
	Before                               map[string]string
	Changed, By, Through                 []string
	Quorum                               *Quorum
	Service                              *Service
	Members                              []Member
	// Of the history alone: the generation of the agent then, how many events are missing here, and the setting at a verdict.
	Life                   uint64
	LeftOut                uint64   `json:"left_out"`
	AcceptablePauseSeconds *float64 `json:"acceptable_pause_seconds"`
}

// History is what has happened, the oldest entry first. With More there are earlier ones that match. Kept is "memory" while the
// state directory takes no writes.
type History struct {
	Self, Kept, Oldest string
	More               bool
	LeftOut            uint64 `json:"left_out"`
	Damaged            uint64
	Entries            []Line
}

// New is the agent at a Unix socket (a path), or at http://HOST:PORT (reads only). Empty: that of HEARTSAY_SOCKET, or the usual.
func New(address string) *Agent {
	for _, other := range []string{os.Getenv("HEARTSAY_SOCKET"), "/run/heartsay/heartsay.sock"} {
		if address == "" {
			address = other
		}
	}
	transport := &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: silence}
	if strings.HasPrefix(address, "http://") {
		return &Agent{address, &http.Client{Transport: transport}}
	}
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: silence}).DialContext(ctx, "unix", strings.TrimPrefix(strings.TrimPrefix(address, "unix:"), "//"))
	}
	return &Agent{"http://heartsay", &http.Client{Transport: transport}}
}

// Members gives all members, or those that pass the filters: status, tag (each repeated as needed), evidence=true.
func (a *Agent) Members(ctx context.Context, filters url.Values) (Members, error) {
	return get[Members](ctx, a, "/v1/members?"+filters.Encode())
}

// Member gives one member with its evidence. Without one of this name the error is Refused with status 404.
func (a *Agent) Member(ctx context.Context, name string) (Member, error) {
	return get[Member](ctx, a, "/v1/members/"+url.PathEscape(name))
}

// Self gives the agent, and its cluster as a whole.
func (a *Agent) Self(ctx context.Context) (Self, error) { return get[Self](ctx, a, "/v1/self") }

// Quorum says whether this agent stands on the side that may act.
func (a *Agent) Quorum(ctx context.Context) (Quorum, error) { return get[Quorum](ctx, a, "/v1/quorum") }

// History gives what happened in the last days, also before a restart of the agent. Filters: member, type, since, until (RFC 3339),
// limit (1000, the last ones). An agent that keeps no history refuses with status 409.
func (a *Agent) History(ctx context.Context, filters url.Values) (History, error) {
	return get[History](ctx, a, "/v1/history?"+filters.Encode())
}

// Register registers a service of this host (name, id, port, address, tags) until the context or this process ends, in any way, and
// again when the agent is back after a restart. It returns the error of the context, or of an agent that refuses.
func (a *Agent) Register(ctx context.Context, service map[string]any) error {
	service["hold"] = true
	wish, err := json.Marshal(service)
	for err == nil {
		err = later(ctx, a.follow(ctx, "/v1/services", string(wish), func(Line) bool { return true }))
	}
	return err
}

// Watch calls each with a snapshot and then with every change, also over breaks and restarts of the agent, until the context
// ends or each returns an error. After a break it goes on behind the last line. Where that cannot be (another life of the agent,
// or more events than it keeps), each gets a line of type "lagged" and then a new snapshot: start over from that. Filters: type,
// status, tag; a snapshot at the start comes whatever they are. With since (and the generation of its snapshot) it resumes.
func (a *Agent) Watch(ctx context.Context, filters url.Values, each func(Line) error) error {
	query, _ := url.ParseQuery(filters.Encode())
	if query.Has("type") {
		query.Add("type", "snapshot")
	}
	for index := uint64(0); ; {
		var stop error
		err := a.follow(ctx, "/v1/watch?"+query.Encode(), "", func(line Line) bool {
			if index = line.Index; line.Type == "snapshot" {
				query.Set("generation", fmt.Sprint(line.Generation))
			}
			query.Set("since", fmt.Sprint(index))
			stop = each(line)
			return stop == nil
		})
		if stop == nil && status(err) == 410 && query.Has("since") {
			query.Del("since")
			query.Del("generation")
			stop = each(Line{Type: "lagged", Index: index, Time: time.Now().UTC().Format(time.RFC3339)})
		} else if stop == nil {
			stop = later(ctx, err)
		}
		if stop != nil {
			return stop
		}
	}
}

// follow reads whole lines until the stream breaks off; the beginning of one is none.
func (a *Agent) follow(ctx context.Context, path, body string, each func(Line) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	alarm := time.AfterFunc(silence, cancel)
	defer alarm.Stop()
	response, err := a.ask(ctx, path, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	for decoder := json.NewDecoder(response.Body); ; alarm.Reset(silence) {
		var line Line
		if decoder.Decode(&line) != nil || !each(line) {
			return nil
		}
	}
}

// Wait waits until the condition holds, of the members by name and of the agent. A context with a deadline limits it.
func (a *Agent) Wait(ctx context.Context, condition func(map[string]Member, Self) bool) error {
	members, me, met := map[string]Member{}, Self{}, errors.New("met")
	err := a.Watch(ctx, nil, func(line Line) error {
		if line.Type == "snapshot" || line.Type == "lagged" {
			members = map[string]Member{}
			for _, member := range line.Members {
				members[member.Name] = member
			}
		} else if line.Type == "member-forgotten" {
			delete(members, line.Name)
		} else if strings.HasPrefix(line.Type, "member-") {
			if before := members[line.Name]; line.Tags == nil {
				line.Address, line.Zone, line.Tags = before.Address, before.Zone, before.Tags
			}
			members[line.Name] = line.Member
		}
		if line.Type == "snapshot" || line.Type == "self" || line.Type == "idle" {
			// No line says all of it. Asked after the stream is open, so nothing falls between.
			me, _ = a.Self(ctx)
		} else if line.Quorum != nil {
			me.Quorum = *line.Quorum
		}
		if me.Cluster != "" && len(members) > 0 && condition(members, me) {
			return met
		}
		return nil
	})
	if err == met {
		return nil
	}
	return err
}

func get[T any](ctx context.Context, a *Agent, path string) (answer T, err error) {
	response, err := a.ask(ctx, path, "")
	if err == nil {
		defer response.Body.Close()
		err = json.NewDecoder(response.Body).Decode(&answer)
	}
	return
}

func (a *Agent) ask(ctx context.Context, path, body string) (*http.Response, error) {
	method := map[bool]string{true: "GET", false: "POST"}[body == ""]
	request, err := http.NewRequestWithContext(ctx, method, a.base+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := a.client.Do(request)
	if err != nil || response.StatusCode == 200 {
		return response, err
	}
	defer response.Body.Close()
	refused := &Refused{response.StatusCode, response.Status}
	_ = json.NewDecoder(response.Body).Decode(refused)
	return nil, refused
}

// later waits before another try, unless the agent has refused for good.
func later(ctx context.Context, err error) error {
	if status(err) != 0 && status(err) < 500 {
		return err
	}
	time.Sleep(200 * time.Millisecond)
	return ctx.Err()
}

func status(err error) int {
	if refused := (*Refused)(nil); errors.As(err, &refused) {
		return refused.Status
	}
	return 0
}

// silence is twice as long as the agent is ever silent.
const silence = 30 * time.Second
