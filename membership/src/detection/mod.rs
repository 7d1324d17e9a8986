//! Who is silent: probes, witnesses, verdicts, and what a node concludes about itself.

pub mod case;
pub mod extra_probes;
pub mod flap_damping;
pub mod indirect_probe;
pub mod outside;
pub mod probe;
pub mod refusals;
pub mod testimony;
pub mod verdict;
pub mod witnesses;
