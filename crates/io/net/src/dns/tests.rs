//! Look-ups at a DNS server on loopback that has a table.

use super::*;
use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, MX, NAPTR, PTR, SRV, TXT};
use hickory_resolver::proto::rr::{Name, Record};
use tokio::net::UdpSocket;

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

/// What the table has: an empty list says that there is nothing of that kind, `None` that the server fails.
fn table(asked: &str, kind: RecordType) -> Option<Result<Vec<RData>, ResponseCode>> {
    let srv = |n: u16| RData::SRV(SRV::new(n, 0, 5060 + n, name(&format!("s{n}.other.test."))));
    let naptr = |regexp: &str, replacement: &str| {
        let text = |text: &str| text.as_bytes().into();
        RData::NAPTR(NAPTR::new(
            10,
            20,
            text("s"),
            text("SIP+D2U"),
            text(regexp),
            name(replacement),
        ))
    };
    Some(Ok(match (asked, kind) {
        ("other.test.", RecordType::NAPTR) => {
            vec![naptr("!^.*$!sip:x@y!", "."), naptr("", "_sip._udp.other.test.")]
        }
        ("_sip._udp.other.test.", RecordType::SRV) => (1..=2).map(srv).collect(),
        ("many.test.", RecordType::A) => (0..70).map(|n| RData::A(A::new(203, 0, 113, n))).collect(),
        ("s1.other.test.", RecordType::A) => vec![RData::A(A::new(203, 0, 113, 1))],
        ("other.test.", RecordType::MX) => vec![
            RData::MX(MX::new(20, name("b.other.test."))),
            RData::MX(MX::new(10, name("A.other.test."))),
        ],
        ("other.test.", RecordType::TXT) => vec![
            RData::TXT(TXT::from_bytes(vec![&b"v=spf1 "[..], &b"-all"[..]])),
            RData::TXT(TXT::from_bytes(vec![&b"\xff"[..]])),
        ],
        ("1.113.0.203.in-addr.arpa.", RecordType::PTR) => vec![RData::PTR(PTR(name("A.other.test.")))],
        ("null.test.", RecordType::MX) => vec![RData::MX(MX::new(0, name(".")))],
        ("broken.test.", _) => return Some(Err(ResponseCode::ServFail)),
        ("silent.test.", _) => return None,
        ("other.test." | "s1.other.test." | "many.test.", _) => Vec::new(),
        _ => return Some(Err(ResponseCode::NXDomain)),
    }))
}

async fn server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 4_096];
        loop {
            let (len, peer) = socket.recv_from(&mut buffer).await.unwrap();
            let request = Message::from_vec(&buffer[..len]).unwrap();
            let query = request.queries[0].clone();
            let mut response = Message::response(request.metadata.id, request.metadata.op_code);
            assert_eq!(response.metadata.message_type, MessageType::Response);
            response.add_query(query.clone());
            match table(&query.name().to_lowercase().to_ascii(), query.query_type()) {
                None => continue,
                Some(Err(code)) => response.metadata.response_code = code,
                Some(Ok(found)) => {
                    let records = found
                        .into_iter()
                        .map(|data| Record::from_rdata(query.name().clone(), 60, data));
                    response.add_answers(records);
                }
            }
            socket.send_to(&response.to_vec().unwrap(), peer).await.unwrap();
        }
    });
    address
}

#[tokio::test]
async fn records_are_found_and_nothing_is_an_answer_too() {
    let resolver = Resolver::new(vec![server().await], None);
    let naptr = resolver.look_up(Question::Naptr("other.test".into())).await;
    let Some(Answer::Naptr(naptr)) = naptr else {
        panic!("{naptr:?}")
    };
    assert_eq!(naptr.len(), 1, "one with a regular expression is none of SIP's");
    assert_eq!(
        (naptr[0].services.as_str(), naptr[0].flags.as_str()),
        ("SIP+D2U", "s")
    );
    let srv = resolver
        .look_up(Question::Srv("_sip._udp.other.test".into()))
        .await;
    let Some(Answer::Srv(srv)) = srv else {
        panic!("{srv:?}")
    };
    let targets: Vec<_> = srv.iter().map(|srv| (srv.port, srv.target.as_str())).collect();
    assert_eq!(targets.len(), 2);
    assert!(targets.contains(&(5061, "s1.other.test.")));
    let addresses = resolver
        .look_up(Question::Addresses("s1.other.test".into()))
        .await;
    assert_eq!(
        addresses,
        Some(Answer::Addresses(vec!["203.0.113.1".parse().unwrap()]))
    );
    for nothing in [
        Question::Naptr("s1.other.test".into()),
        Question::Srv("_sip._udp.nowhere.test".into()),
        Question::Addresses("nowhere.test".into()),
        Question::Addresses("other.test".into()),
    ] {
        let found = resolver.look_up(nothing.clone()).await;
        assert_eq!(found, Some(Answer::nothing(&nothing)), "{nothing:?}");
    }
}

#[tokio::test]
async fn no_answer_is_told_from_nothing_and_comes_in_time() {
    let resolver = Resolver::new(vec![server().await], None);
    for question in [
        Question::Srv("broken.test".into()),
        Question::Addresses("broken.test".into()),
        Question::Srv("no name at all, ..".into()),
    ] {
        assert_eq!(resolver.look_up(question.clone()).await, None, "{question:?}");
    }
    assert_eq!(resolver.look_up(Question::Srv("silent.test".into())).await, None);
}

#[tokio::test]
async fn answers_and_questions_are_bounded() {
    let resolver = Resolver::new(vec![server().await], None);
    let many = resolver.look_up(Question::Addresses("many.test".into())).await;
    let Some(Answer::Addresses(many)) = many else {
        panic!("{many:?}")
    };
    assert_eq!(many.len(), limits::DNS_RECORDS);
    let all = resolver
        .places
        .acquire_many(limits::DNS_LOOKUPS as u32)
        .await
        .unwrap();
    assert_eq!(resolver.look_up(Question::Naptr("other.test".into())).await, None);
    drop(all);
    assert!(
        resolver
            .look_up(Question::Naptr("other.test".into()))
            .await
            .is_some()
    );
}

#[tokio::test]
async fn other_servers_are_asked_from_a_reload_on() {
    let nobody = UdpSocket::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let resolver = Resolver::new(vec![nobody], None);
    let question = Question::Naptr("other.test".into());
    assert_eq!(resolver.look_up(question.clone()).await, None);
    resolver.reload(vec![server().await], None).await;
    assert!(matches!(resolver.look_up(question).await, Some(Answer::Naptr(found)) if found.len() == 1));
}

#[tokio::test]
async fn mail_servers_are_found_and_none_is_told_from_no_answer() {
    let resolver = Resolver::new(vec![server().await], None);
    let found = |domain: &'static str| {
        let resolver = resolver.clone();
        async move {
            let found = resolver.exchangers(domain).await;
            found.ok().map(|found| found.servers)
        }
    };
    let other = vec![(20, "b.other.test".to_owned()), (10, "A.other.test".to_owned())];
    assert_eq!(found("other.test").await, Some(other));
    assert_eq!(found("null.test").await, Some(vec![(0, String::new())]));
    assert_eq!(found("s1.other.test").await, Some(Vec::new()));
    assert_eq!(found("nowhere.test").await, Some(Vec::new()));
    assert_eq!(found("broken.test").await, None);
}

#[tokio::test]
async fn what_is_not_there_is_told_from_what_cannot_be_told() {
    let resolver = Resolver::new(vec![server().await], None);
    assert_eq!(
        resolver.texts("other.test").await,
        Records::Found(vec![b"v=spf1 -all".to_vec(), vec![0xff]])
    );
    assert_eq!(resolver.texts("s1.other.test").await, Records::Nothing);
    assert_eq!(resolver.texts("absent.test").await, Records::Nothing);
    assert_eq!(resolver.texts("broken.test").await, Records::Failed);
    assert_eq!(resolver.texts("a..b").await, Records::Nothing);
    let address: IpAddr = "203.0.113.1".parse().unwrap();
    assert_eq!(
        resolver.host_addresses("s1.other.test", false).await,
        Records::Found(vec![address])
    );
    assert_eq!(
        resolver.host_addresses("s1.other.test", true).await,
        Records::Nothing
    );
    assert_eq!(
        resolver.mail_hosts("other.test").await,
        Records::Found(vec!["A.other.test".to_owned(), "b.other.test".to_owned()])
    );
    assert_eq!(
        resolver.pointers(address).await,
        Records::Found(vec!["A.other.test".to_owned()])
    );
}
