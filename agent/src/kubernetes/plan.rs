//! What is to be done, from the members as they are seen and the nodes as they are. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::node::Mark;

/// What the members say of their nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// All its members are down: which.
    pub(super) down: BTreeMap<String, Vec<String>>,
    /// A member of it is alive.
    pub(super) alive: BTreeSet<String>,
}

impl Wanted {
    /// Of members: name, status, and the tag `node`, if it has one.
    pub(super) fn of<'a>(members: impl Iterator<Item = (&'a str, &'a str, Option<&'a str>)>) -> Self {
        let (mut wanted, mut undecided) = (Self::default(), BTreeSet::new());
        for (name, status, tag) in members {
            let node = tag.filter(|tag| !tag.is_empty()).unwrap_or(name).to_owned();
            match status {
                "alive" => drop(wanted.alive.insert(node)),
                "down" => wanted.down.entry(node).or_default().push(name.to_owned()),
                // Suspect, or gone in good order: nothing to put on, nothing to take off.
                _ => drop(undecided.insert(node)),
            }
        }
        wanted.down.retain(|node, _| !wanted.alive.contains(node) && !undecided.contains(node));
        wanted
    }
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Nodes to be freed.
    pub(super) off: Vec<String>,
    /// Nodes to be tainted.
    pub(super) on: Vec<String>,
    /// Nodes that the floor keeps from it.
    pub(super) kept: Vec<String>,
    /// Members that are down have these nodes, and there are none of this name.
    pub(super) absent: Vec<String>,
    /// So many nodes may have the taint at a time.
    pub(super) limit: usize,
}

impl Plan {
    /// For these nodes. Taints that are still to come off count: as long as they are there, pods keep away from those nodes.
    pub(super) fn of(nodes: &BTreeMap<String, Mark>, wanted: &Wanted) -> Self {
        let limit = (nodes.len() / PART).max(1);
        let ours = nodes.values().filter(|mark| **mark == Mark::Ours).count();
        let mut plan = Self { limit, ..Self::default() };
        let mut room = limit.saturating_sub(ours);
        for name in wanted.down.keys() {
            match nodes.get(name) {
                None => plan.absent.push(name.clone()),
                Some(Mark::Ours | Mark::Others) => {}
                Some(Mark::Free) if room == 0 => plan.kept.push(name.clone()),
                Some(Mark::Free) => {
                    room -= 1;
                    plan.on.push(name.clone());
                }
            }
        }
        let free = nodes.iter().filter(|(name, mark)| **mark == Mark::Ours && wanted.alive.contains(*name));
        plan.off = free.map(|(name, _)| name.clone()).collect();
        plan
    }

    /// Nothing to put on and nothing to take off.
    pub(super) fn is_empty(&self) -> bool {
        self.off.is_empty() && self.on.is_empty()
    }
}

/// One node of so many may have the taint, which is a floor under the cluster: a fault that looks like the death of many must not
/// evict the pods of all. An honest guess: a rack of an installation of ten.
const PART: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: usize, ours: &[&str]) -> BTreeMap<String, Mark> {
        let name = |i| format!("n{i:02}");
        let mark = |name: &str| if ours.contains(&name) { Mark::Ours } else { Mark::Free };
        (0..count).map(name).map(|name| (name.clone(), mark(&name))).collect()
    }

    fn seen(members: &[(&str, &str)]) -> Wanted {
        Wanted::of(members.iter().map(|(name, status)| (*name, *status, None)))
    }

    #[test]
    fn a_tenth_of_the_nodes_at_most_and_one_at_least_is_tainted() {
        let down: Vec<_> = ["n00", "n01", "n02", "n03"].map(|name| (name, "down")).into();
        for (count, ours, on) in [
            (4, &[][..], 1),
            (9, &[], 1),
            (20, &[], 2),
            (39, &[], 3),
            (39, &["n09", "n08"], 1),
            // The cluster has shrunk.
            (9, &["n07", "n08"], 0),
        ] {
            let plan = Plan::of(&nodes(count, ours), &seen(&down));
            assert_eq!((plan.on.len(), plan.kept.len()), (on, 4 - on), "{count} {ours:?}");
        }
    }

    #[test]
    fn what_is_alive_is_freed_and_what_is_in_between_is_left_alone() {
        let ours = ["n00", "n01", "n02", "n03"];
        let members = [("n00", "alive"), ("n01", "suspect"), ("n02", "left"), ("n03", "down"), ("x", "down")];
        let plan = Plan::of(&nodes(40, &ours), &seen(&members));
        assert_eq!((plan.off, plan.on, plan.absent), (vec!["n00".to_owned()], vec![], vec!["x".to_owned()]));
    }

    #[test]
    fn a_tag_names_the_node_and_one_living_member_is_enough_for_it() {
        let members = [
            ("a", "down", Some("n1")),
            ("b", "alive", Some("n1")),
            ("c", "down", Some("n2")),
            ("d", "down", None),
        ];
        let wanted = Wanted::of(members.into_iter().chain([("e", "suspect", Some("d"))]));
        assert_eq!(wanted.down, [("n2".to_owned(), vec!["c".to_owned()])].into());
        assert_eq!(wanted.alive, ["n1".to_owned()].into());
    }

    #[test]
    fn the_same_taint_of_somebody_else_is_neither_doubled_nor_taken_off() {
        let nodes = [("a".to_owned(), Mark::Others), ("b".to_owned(), Mark::Others)].into();
        assert!(Plan::of(&nodes, &seen(&[("a", "down"), ("b", "alive")])).is_empty());
    }
}
