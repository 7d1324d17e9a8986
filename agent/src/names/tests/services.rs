//! Instances of services in the domain.

use super::*;

use crate::services::{Health, Instance};

fn web(member: &Entry, port: u16, health: Health) -> Entry {
    member.serving("web", Instance { port: Some(port), health, ..Instance::default() })
}

fn elsewhere(member: &Entry, address: &str) -> Entry {
    let address = Some(address.parse().unwrap());
    member.serving("web", Instance { port: Some(90), address, ..Instance::default() })
}

/// Who is behind the names of service web: by A, and by SRV.
fn found(members: &[Entry], instances: &[Entry]) -> (Vec<u8>, Vec<String>) {
    let zone = Zone::new(DOMAIN, members, instances);
    let own = ask(&zone, "web.service.shop.heartsay", Rtype::SRV).services();
    for shared in ["_web._tcp", "_web._udp"] {
        assert_eq!(ask(&zone, &format!("{shared}.shop.heartsay"), Rtype::SRV).services(), own, "{shared}");
    }
    (ask(&zone, "web.service.shop.heartsay", Rtype::A).v4(), own)
}

#[test]
fn a_service_leads_to_its_instances_and_to_none_that_is_critical() {
    use Health::{Critical, Passing, Warning};
    let (a, b) = (member("a", "10.0.0.1", &[]), member("b", "10.0.0.2", &[]));
    let members = [a.clone(), b.clone()];
    let both = [web(&a, 80, Passing), web(&b, 81, Warning)];
    let name = |member: &str, port: u16| format!("{member}.Shop.heartsay:{port}");
    assert_eq!(found(&members, &both), (vec![1, 2], vec![name("a", 80), name("b", 81)]));
    let one = [web(&a, 80, Critical), web(&b, 81, Warning)];
    assert_eq!(found(&members, &one), (vec![2], vec![name("b", 81)]));
    assert_eq!(found(&members, &both[..1]), (vec![1], vec![name("a", 80)]), "one that is gone is out");
    let suspect = is(a.clone(), "suspect");
    let instances = [web(&suspect, 80, Passing), web(&b, 81, Warning)];
    assert_eq!(found(&[suspect.clone(), b.clone()], &instances), (vec![2], vec![name("b", 81)]));
    assert_eq!(found(&[suspect, b], &instances[..1]), (vec![1], vec![name("a", 80)]), "better than nobody");
    let portless = [a.serving("web", Instance::default())];
    let zone = Zone::new(DOMAIN, &members, &portless);
    assert_eq!(ask(&zone, "web.service.shop.heartsay", Rtype::A).v4(), [1]);
    assert_eq!(ask(&zone, "_web._tcp.shop.heartsay", Rtype::SRV).rcode(), Rcode::NXDOMAIN);
    assert_eq!(ask(&zone, "web.service.shop.heartsay", Rtype::SRV).nothing(), "shop.heartsay 1");
}

#[test]
fn a_service_of_which_nobody_is_left_has_its_name_and_one_that_nobody_tells_of_has_none() {
    let a = member("a", "10.0.0.1", &[]);
    let down = is(a.clone(), "down");
    let critical = web(&a, 80, Health::Critical);
    for (member, instance) in [(&a, critical), (&down, web(&down, 80, Health::Passing))] {
        let zone = Zone::new(DOMAIN, std::slice::from_ref(member), &[instance]);
        for (name, rtype) in
            [("web.service", Rtype::A), ("web.service", Rtype::SRV), ("_web._tcp", Rtype::SRV)]
        {
            let answer = ask(&zone, &format!("{name}.shop.heartsay"), rtype);
            assert_eq!(
                (answer.rcode(), answer.nothing()),
                (Rcode::NOERROR, "shop.heartsay 1".to_owned()),
                "{name}"
            );
        }
        assert_eq!(ask(&zone, "service.shop.heartsay", Rtype::A).rcode(), Rcode::NOERROR);
        assert_eq!(ask(&zone, "db.service.shop.heartsay", Rtype::A).rcode(), Rcode::NXDOMAIN);
    }
    assert_eq!(ask(&zone(&[a]), "service.shop.heartsay", Rtype::A).rcode(), Rcode::NXDOMAIN);
}

#[test]
fn an_address_of_its_own_has_a_name_that_resolves() {
    let (a, odd) = (member("a", "10.0.0.1", &[]), member("x y", "10.0.0.9", &[]));
    let mut critical = elsewhere(&a, "10.1.0.8");
    critical.served.as_mut().unwrap().health = Health::Critical;
    let instances = [
        elsewhere(&a, "10.1.0.7"),
        elsewhere(&a, "2001:db8::7"),
        elsewhere(&a, "10.0.0.1"),
        web(&odd, 91, Health::Passing),
        critical,
    ];
    let zone = Zone::new(DOMAIN, &[a, odd], &instances);
    let answer = ask(&zone, "_web._tcp.shop.heartsay", Rtype::SRV);
    let six = "20010db8000000000000000000000007.addr.Shop.heartsay";
    assert_eq!(
        answer.services(),
        [
            "0a000009.addr.Shop.heartsay:91",
            "0a010007.addr.Shop.heartsay:90",
            &format!("{six}:90"),
            "a.Shop.heartsay:90"
        ]
    );
    let beside = answer.message.additional().unwrap().limit_to::<A>();
    let beside = beside.map(|record| record.unwrap().data().addr().octets());
    assert_eq!(beside.collect::<Vec<_>>(), [[10, 0, 0, 9], [10, 1, 0, 7], [10, 0, 0, 1]]);
    assert_eq!(answer.message.additional().unwrap().limit_to::<Aaaa>().count(), 1);
    assert_eq!(ask(&zone, "0A010007.addr.shop.heartsay", Rtype::A).v4(), [7]);
    assert_eq!(ask(&zone, six, Rtype::AAAA).v6(), ["2001:db8::7".parse::<Ipv6Addr>().unwrap()]);
    // A client that has the record of a moment ago still finds the host.
    assert_eq!(ask(&zone, "0a010008.addr.shop.heartsay", Rtype::A).v4(), [8]);
    assert_eq!(ask(&zone, "0a010009.addr.shop.heartsay", Rtype::A).rcode(), Rcode::NXDOMAIN, "of nobody");
    assert_eq!(ask(&zone, "web.service.shop.heartsay", Rtype::A).v4(), [1, 9, 7]);
    assert_eq!((zone.members, zone.left_out), (1, 1), "the member has no name, its instance has a place");
}

#[test]
fn an_address_that_leads_nowhere_is_left_out_and_counted() {
    let a = member("a", "10.0.0.1", &[]);
    for address in ["127.0.0.1", "::1", "0.0.0.0", "224.0.0.1"] {
        let zone = Zone::new(DOMAIN, std::slice::from_ref(&a), &[elsewhere(&a, address)]);
        assert_eq!((zone.members, zone.left_out), (1, 1), "{address}");
        assert_eq!(ask(&zone, "_web._tcp.shop.heartsay", Rtype::SRV).nothing(), "shop.heartsay 1");
        assert_eq!(ask(&zone, "addr.shop.heartsay", Rtype::A).rcode(), Rcode::NXDOMAIN);
    }
}

#[test]
fn a_member_that_tells_of_a_service_is_not_found_by_its_role_there_and_others_are() {
    let tags = [("role", "Web"), ("port", "8080")];
    let (a, b) = (member("a", "10.0.0.1", &tags), member("b", "10.0.0.2", &tags));
    let ports = |instances: &[Entry]| {
        let zone = Zone::new(DOMAIN, &[a.clone(), b.clone()], instances);
        assert_eq!(ask(&zone, "web.role.shop.heartsay", Rtype::A).v4(), [1, 2], "roles stay as they are");
        ask(&zone, "_web._tcp.shop.heartsay", Rtype::SRV).services()
    };
    let name = |member: &str, port: u16| format!("{member}.Shop.heartsay:{port}");
    assert_eq!(ports(&[]), [name("a", 8080), name("b", 8080)]);
    assert_eq!(ports(&[web(&a, 80, Health::Passing)]), [name("a", 80), name("b", 8080)]);
    assert_eq!(ports(&[web(&a, 80, Health::Critical)]), [name("b", 8080)]);
    let posing = a.serving("heartsay", Instance { port: Some(1), ..Instance::default() });
    let zone = Zone::new(DOMAIN, std::slice::from_ref(&a), &[posing]);
    assert_eq!(ask(&zone, "_heartsay._udp.shop.heartsay", Rtype::SRV).services(), [name("a", 4327)]);
    assert_eq!(ask(&zone, "_heartsay._tcp.shop.heartsay", Rtype::SRV).rcode(), Rcode::NXDOMAIN);
    for taken in ["web.service", "X.Service", "0a000001.addr"] {
        let zone = Zone::new(DOMAIN, &[member(taken, "10.0.0.3", &[])], &[]);
        assert_eq!((zone.members, zone.left_out), (0, 1), "{taken}");
    }
}

#[test]
fn many_instances_are_cut_as_roles_are_and_begin_anywhere() {
    let member = member("a", "10.0.0.1", &[]);
    let instance = |n: u16| {
        let (id, port) = (n.to_string(), Some(1000 + n));
        member.serving("web", Instance { id, port, ..Instance::default() })
    };
    let instances: Vec<Entry> = (0..100).map(instance).collect();
    let zone = Zone::new(DOMAIN, std::slice::from_ref(&member), &instances);
    let asked = query("web.service.shop.heartsay", Rtype::SRV, None);
    let read = |turn| Read::of(told(&asked, Some(&zone), UDP, turn).unwrap());
    assert!(read(0).cut && read(0).message.as_slice().len() <= 512);
    let first = |turn| read(turn).services().swap_remove(0);
    assert_eq!((first(0), first(7)), ("a.Shop.heartsay:1000".to_owned(), "a.Shop.heartsay:1007".to_owned()));
    let whole = Read::of(told(&asked, Some(&zone), Way::Tcp, 0).unwrap());
    assert_eq!((whole.services().len(), whole.cut), (100, false));
    let beside = whole.message.additional().unwrap().limit_to::<A>().count();
    assert_eq!(beside, 1, "the address of one host stands there once");
}
