package heartsay

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// QuorumLost is the error of Guard when it has stopped its command: quorum is not held any more, or not known to be.
var QuorumLost = errors.New("quorum was lost")

// Guard starts the command once quorum is held, and lets it run only while it is; it returns what cmd.Wait returns, or QuorumLost.
// It reads /dev/null and runs in a process group of its own, which gets SIGTERM, and SIGKILL after grace: when quorum is lost, when
// the agent does not answer or its proof runs out, when the command or the context ends, and when this process ends in any way. It
// is advisory: a host that stands still cannot stop itself. See docs/clients.md, and heartsay exec --watchdog.
func (a *Agent) Guard(ctx context.Context, cmd *exec.Cmd, grace time.Duration) error {
	since, until := "", time.Now().Add(answer)
	held := func() bool { // Without a break, and by a proof that is good until a moment.
		before := time.Now()
		ctx, cancel := context.WithDeadline(ctx, until)
		defer cancel()
		quorum, err := a.Quorum(ctx)
		if status(err) >= 500 {
			return since != "" && time.Now().Before(until) // Busy: that says nothing of quorum.
		}
		if until = before.Add(answer); quorum.LeftSeconds != nil && *quorum.LeftSeconds < answer.Seconds() {
			until = before.Add(time.Duration(*quorum.LeftSeconds * float64(time.Second)))
		}
		unbroken := since == "" || since == quorum.Since
		since = quorum.Since
		return err == nil && quorum.Quorum == "held" && unbroken && time.Now().Before(until)
	}
	for !held() {
		time.Sleep(ask)
		if since, until = "", time.Now().Add(answer); ctx.Err() != nil {
			return ctx.Err()
		}
	}
	// Ends the group when its input ends, so also when this process ends, however it does.
	keeper := exec.Command("/bin/sh", "-c", keep, fmt.Sprint(int(grace/(50*time.Millisecond))))
	keeper.SysProcAttr, cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}, &syscall.SysProcAttr{Setpgid: true}
	in, out, err := os.Pipe()
	keeper.Stdin, cmd.Stdin = in, out
	// It knows of the command before that begins, which reads /dev/null.
	cmd.Args = append([]string{"sh", "-c", `echo $$ >&0; exec "$@" </dev/null`, "sh", cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	defer func() { _, _, _ = in.Close(), out.Close(), keeper.Wait() }()
	for _, start := range []func() error{keeper.Start, cmd.Start} {
		if err == nil {
			err = start()
		}
	}
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for held() {
		select {
		case err := <-ended:
			return err
		case <-time.After(time.Until(until) / 2):
		case <-time.After(ask):
		}
	}
	return QuorumLost
}

const (
	ask    = 500 * time.Millisecond // How often the guard asks, and how long the agent may take to answer.
	answer = 2 * time.Second
	keep   = `read g; read _; [ "$g" ] || exit; exec 2>/dev/null; kill -TERM -"$g"; kill -CONT -"$g"; n=$0
while kill -0 -"$g" && [ "$n" -gt 0 ]; do sleep 0.05; n=$((n - 1)); done; kill -KILL -"$g"`
)
