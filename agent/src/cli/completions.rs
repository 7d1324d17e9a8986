//! `completions`: a shell's script, which asks the agent for the names of the members.
//!
//! Clap writes the scripts, without a word for a member. Here each gets a function that calls `completions --members`
//! with the words of the command line. Which verbs take a member is seen by [`MEMBER`].

use std::time::Duration;

use clap::{Args, Command, CommandFactory as _, ValueHint};
use clap_complete::Shell;

use super::Cli;
use super::exit::Exit;
use super::output::print;
use crate::client::Client;
use crate::types::Members;

/// Marks an argument as the name of a member. Nothing else is a host here.
pub(super) const MEMBER: ValueHint = ValueHint::Hostname;

/// Arguments of `completions`.
#[derive(Args)]
#[command(override_usage = "heartsay completions [OPTIONS] <SHELL>")]
pub(super) struct Completions {
    /// For which shell.
    #[arg(required_unless_present = "members")]
    shell: Option<Shell>,
    /// What the scripts themselves ask: the members that may stand next on this command line, one a line.
    #[arg(long, hide = true, num_args = 0.., allow_hyphen_values = true, value_name = "WORD")]
    members: Option<Vec<String>>,
}

impl Completions {
    /// Prints the script, or the names.
    pub(super) async fn run(self, socket: Option<&str>) -> anyhow::Result<Exit> {
        match (self.shell, self.members) {
            (Some(shell), _) => print(&script(shell))?,
            (None, words) => {
                let words = words.unwrap_or_default();
                print(&members(&words, socket_in(&words).or(socket)).await.join("\n"))?;
            }
        }
        Ok(Exit::Done)
    }
}

/// The script of clap with the names of the members.
fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "heartsay", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        Shell::Bash => script + &BASH.replace("VERBS", &verbs().join("|")),
        // The first line says of which command it is.
        Shell::Zsh => {
            script.replacen("\n\n", &format!("\n\n{ZSH}\n"), 1).replace(":_hosts", ":_heartsay_members")
        }
        Shell::Fish => script + &FISH.replace("VERBS", &verbs().join(" ")),
        Shell::Elvish | Shell::PowerShell | _ => script,
    }
}

/// The verbs that take a member.
fn verbs() -> Vec<String> {
    let takes_member = |verb: &&Command| verb.get_positionals().any(|arg| arg.get_value_hint() == MEMBER);
    Cli::command().get_subcommands().filter(takes_member).map(|verb| verb.get_name().to_owned()).collect()
}

/// The names that may stand next. None at all when no agent answers at once: nothing is said in the middle of a
/// command line.
async fn members(words: &[String], socket: Option<&str>) -> Vec<String> {
    // Of the others nothing can be forgotten.
    let path = match words.iter().any(|word| word == "forget") {
        true => "/v1/members?status=down&status=left",
        false => "/v1/members",
    };
    let client = Client::new(socket);
    let answer = client.read_within::<Members>(path, AT_ONCE).await;
    let names = answer.into_iter().flat_map(|answer| answer.members).map(|member| member.name);
    names.filter(|name| is_plain(name)).collect()
}

/// Whether every shell takes it as it is: others chose it.
fn is_plain(name: &str) -> bool {
    !name.starts_with('-') && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// The `--socket` on the command line; bash hands over `--socket=PATH` in three words.
fn socket_in(words: &[String]) -> Option<&str> {
    let mut words = words.iter().map(String::as_str);
    let word = words.find(|word| word.starts_with("--socket"))?;
    match word.strip_prefix("--socket=") {
        Some(path) => Some(path),
        None => words.find(|word| *word != "="),
    }
}

/// As long as a person waits for the answer to a key.
const AT_ONCE: Duration = Duration::from_millis(500);

const BASH: &str = r#"
_heartsay_members() {
    _heartsay "$@"
    [[ $2 != -* ]] || return 0
    local name
    for name in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $name in
            VERBS)
                compopt +o default +o bashdefault 2>/dev/null
                while read -r name; do
                    [[ $name != "$2"* ]] || COMPREPLY+=("$name")
                done < <("$1" completions --members "${COMP_WORDS[@]:1}" 2>/dev/null)
                return 0
                ;;
        esac
    done
}

complete -F _heartsay_members -o bashdefault -o default heartsay
"#;

const ZSH: &str = r#"_heartsay_members() {
    # Not $words, which begins with the verb by now.
    local -a all names
    all=(${(z)LBUFFER})
    names=(${(f)"$(_call_program members heartsay completions --members ${(@q)${(@Q)all[2,-1]}})"})
    compadd -a names
}
"#;

const FISH: &str = r#"
function __fish_heartsay_members
    set -l words (commandline -opc)
    $words[1] completions --members $words[2..-1] 2>/dev/null
end

complete -c heartsay -n "__fish_heartsay_using_subcommand VERBS" -f -a "(__fish_heartsay_members)"
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_shell_would_read_is_left_out() {
        for name in ["web-1", "db_2.example.org", "7"] {
            assert!(is_plain(name), "{name}");
        }
        for name in
            ["-rf", "$(id)", "`id`", "a;b", "a'b", "a\\b", "a b", "a\nb", "~", "a=b", "a:b", "ä", "{a,b}"]
        {
            assert!(!is_plain(name), "{name}");
        }
    }

    #[test]
    fn the_socket_of_the_command_line_is_found_as_each_shell_hands_it_over() {
        let socket = |words: &str| {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            socket_in(&words).map(str::to_owned)
        };
        assert_eq!(socket("--socket /a why").as_deref(), Some("/a"));
        assert_eq!(socket("why --socket=/a web").as_deref(), Some("/a"));
        assert_eq!(socket("--socket = /a why").as_deref(), Some("/a"));
        assert_eq!(socket("why web"), None);
        assert_eq!(socket("why --socket"), None);
    }

    #[test]
    fn the_verbs_about_one_member_are_those() {
        assert_eq!(verbs(), ["why", "history", "paths", "forget", "testify"]);
    }
}
