//! The bounds of everything that grows with what a peer sends. Each says what happens when it is reached.

use std::time::Duration;

/// A SIP message on a stream, header and body together; more closes the connection (the header alone is bounded by
/// [`SIP_HEADER_BYTES`]). On UDP the datagram is the limit.
pub const SIP_MESSAGE_BYTES: usize = 256 * 1024;
/// The header part of a SIP message; more closes the connection.
pub const SIP_HEADER_BYTES: usize = 64 * 1024;
/// Header fields in one SIP message; more is a 400 on a request, and a response is dropped.
pub const SIP_HEADERS: usize = 256;
/// Transactions of one SIP endpoint; a request over it is refused with a stateless 503 (RFC 3261 §21.5.4).
pub const SIP_TRANSACTIONS: usize = 200_000;
/// What a SIP datagram that anybody may send is answered with at most, in hundredths of its own length; header fields that
/// are not needed and do not fit are left out.
pub const SIP_ANSWER_PERCENT: usize = 150;
/// Dialogs and calls of one SIP endpoint; over it new INVITEs get 503.
pub const SIP_DIALOGS: usize = 50_000;
/// Digest nonces whose counts are remembered; over it the oldest end early, and their holders get `stale=true`.
pub const DIGEST_NONCES: usize = 65_536;
/// One decoded SASL message of a client; more ends the exchange with an error.
pub const SASL_MESSAGE_BYTES: usize = 4 * 1024;
/// Addresses that one SIP URI may lead to by DNS; further ones are not tried.
pub const SIP_TARGETS: usize = 32;
/// DNS questions that one SIP URI may cost; what they would have led to is not tried.
pub const SIP_LOOKUPS: usize = 64;
/// DNS look-ups at one time; one more counts as not answered.
pub const DNS_LOOKUPS: usize = 256;
/// Records of one DNS answer; further ones are left out.
pub const DNS_RECORDS: usize = 64;
/// Contacts registered for one account; over it REGISTER is refused with 403.
pub const BINDINGS_PER_ACCOUNT: usize = 16;
/// Subscriptions to the lamp of one account; over it the oldest ends.
pub const SUBSCRIPTIONS_PER_ACCOUNT: usize = 32;
/// Branches of one forked call; contacts above it are not tried.
pub const FORKS_PER_CALL: usize = 16;
/// m-lines of one session description; more is a 488.
pub const SDP_MEDIA: usize = 32;
/// Bytes of one session description; more is a 488.
pub const SDP_BYTES: usize = 64 * 1024;
/// Payload formats of one m-line; further ones are ignored.
pub const SDP_FORMATS: usize = 64;
/// Sessions of others that are remembered from SAP, and sessions of ours that are announced; further ones are not.
pub const SAP_SESSIONS: usize = 1_024;
/// Sessions that are remembered from SAP of one address; further ones are not.
pub const SAP_SESSIONS_OF_ONE: usize = 128;
/// Octets of the descriptions that are remembered from SAP; one that does not fit is not.
pub const SAP_BYTES: usize = 1024 * 1024;
/// Octets of those of one address, an eighth of all.
pub const SAP_BYTES_OF_ONE: usize = SAP_BYTES / 8;
/// A packet of SAP, whose authors are told to keep it below 1 KiB; a longer one is ignored.
pub const SAP_PACKET_BYTES: usize = 2_048;
/// What one protocol session may hold in its machine; a session over it stops reading, or is closed where the RFC
/// gives no other way.
pub const SESSION_BYTES: usize = 256 * 1024;
/// A command line of SMTP with its parameters (RFC 5321 §4.5.3.1.4 asks for 512; extensions add); more gets 500.
pub const SMTP_LINE_BYTES: usize = 12 * 1024;
/// Recipients of one message; more get 452 (RFC 5321 §4.5.3.1.10 asks for at least 100).
pub const SMTP_RECIPIENTS: usize = 1_000;
/// The local part of a mailbox (RFC 5321 §4.5.3.1.1 asks for 64; return paths that carry a key are longer); more gets 501.
pub const SMTP_LOCAL_PART_BYTES: usize = 256;
/// The name of a header field in a message that is submitted; a longer one is no header's.
pub const SUBMITTED_FIELD_NAME_BYTES: usize = 128;
/// Commands of one SMTP session that are refused with 5xx since its last message, unless configured; then 421 and the
/// connection closes.
pub const SMTP_ERRORS: u32 = 20;
/// Messages of one SMTP session, unless configured; MAIL for one more gets 421 and the connection closes.
pub const SMTP_MESSAGES: u32 = 1_000;
/// Recipients of all messages of one SMTP session, unless configured; one more gets 421 and the connection closes.
pub const SMTP_SESSION_RECIPIENTS: u32 = 10_000;
/// Peers and accounts whose messages and failed logins of the last hour are counted; above it the counts start anew.
pub const RATES: usize = 65_536;
/// Failed passwords of one SMTP session; then 421 and the connection closes.
pub const SMTP_AUTH_FAILURES: u32 = 5;
/// A line of a reply of another SMTP server with its end (RFC 5321 §4.5.3.1.5 asks for 512); with more the connection is
/// given up.
pub const SMTP_REPLY_LINE_BYTES: usize = 4 * 1024;
/// Lines of one reply of another SMTP server; with more the connection is given up.
pub const SMTP_REPLY_LINES: usize = 128;
/// What is kept of a reply's text for a notice and for the queue; the rest is cut.
pub const SMTP_VERDICT_BYTES: usize = 512;
/// Commands sent to another SMTP server ahead of its replies, so that neither side waits for the other to read; further
/// ones wait.
pub const SMTP_PIPELINE: usize = 50;
/// Commands of one SMTP session since its last message that lead to none (NOOP, RSET, VRFY and the like); then 421 and the
/// connection closes.
pub const SMTP_IDLE_COMMANDS: u32 = 200;
/// A message body accepted over SMTP or APPEND unless configured; more gets 552 or NO \[TOOBIG\].
pub const MESSAGE_BYTES: u64 = 50 * 1024 * 1024;
/// A command of IMAP without its literals; more gets BAD and the connection closes.
pub const IMAP_LINE_BYTES: usize = 64 * 1024;
/// Literals of one IMAP command before login, together; more gets BAD and the connection closes.
pub const IMAP_LITERALS_BEFORE_LOGIN_BYTES: usize = 4 * 1024;
/// Literals of one IMAP command after login except APPEND's message, together; more gets BAD.
pub const IMAP_LITERALS_BYTES: usize = 128 * 1024;
/// Literals of one IMAP command, in number; more gets BAD.
pub const IMAP_LITERALS: usize = 64;
/// The largest literal that an IMAP client may send without waiting (RFC 7888 §5, LITERAL-); a larger one gets BAD and
/// the connection closes.
pub const IMAP_UNASKED_LITERAL_BYTES: u64 = 4 * 1024;
/// Pipelined input of IMAP that waits while a command is carried out; a session with more stops reading.
pub const IMAP_PIPELINE_BYTES: usize = 32 * 1024;
/// Messages in one question of an IMAP session about stored data, so that neither side holds more of them at a time.
pub const IMAP_PORTION: usize = 128;
/// Messages in one question of an IMAP session that searches; the answer names those that match.
pub const IMAP_SEARCH_PORTION: usize = 512;
/// Portions of a FETCH that are read while those before them are told.
pub const IMAP_PORTIONS_AHEAD: usize = 3;
/// What one answer of the mail service holds in memory of what is known of messages (envelopes, structures), as far as the
/// message that reaches it; the session asks again for those behind it.
pub const IMAP_KNOWN_BYTES: usize = 1024 * 1024;
/// What one session that fetches, searches or sorts so holds of records at a time, beside its answer: a read, and the portions
/// ahead, each with the one record that reaches [`STORE_READ_BYTES`].
pub const IMAP_READ_BYTES: usize = (1 + IMAP_PORTIONS_AHEAD) * (STORE_READ_BYTES + KEY_BYTES + VALUE_BYTES);
/// Messages in one question of an IMAP session that changes flags. Each question is a commit, with a sync of the disk.
pub const IMAP_STORE_PORTION: usize = 16_384;
/// Keywords of one message; STORE and APPEND with more are refused with NO \[LIMIT\].
pub const IMAP_KEYWORDS: usize = 64;
/// Commands in a row that an IMAP session could not read, and logins that failed; at either the connection closes.
pub const IMAP_FAILURES: u32 = 10;
/// A command line of POP3 with its end, or a line of SASL (RFC 2449 §4 asks for 255); more gets -ERR.
pub const POP3_LINE_BYTES: usize = 8 * 1024;
/// Pipelined input of POP3 that waits while a command is carried out; a session with more stops reading.
pub const POP3_PIPELINE_BYTES: usize = 32 * 1024;
/// Lines in a row that were no command of POP3, and logins that failed; at either the connection closes.
pub const POP3_FAILURES: u32 = 10;
/// Maildrops of which a process remembers that it has the lease; above it those that no session has are forgotten, and
/// taken anew.
pub const POP3_LEASES: usize = 100_000;
/// Messages of all the lists of maildrops that a process remembers; above it those that no session has are forgotten, and
/// read anew.
pub const POP3_LISTED: usize = 1_000_000;
/// Messages of one maildrop of POP3, the oldest first; further ones are seen when those before them are gone.
pub const POP3_MESSAGES: usize = 200_000;
/// The header of an RTSP message, start line and all; more gets 400 and the connection closes, or the connection to a server is
/// given up.
pub const RTSP_HEADER_BYTES: usize = 32 * 1024;
/// One line of it; a longer request line gets 414, another 400, and the connection closes.
pub const RTSP_LINE_BYTES: usize = 8 * 1024;
/// Header fields of one RTSP message; more get 400 and the connection closes.
pub const RTSP_HEADERS: usize = 128;
/// The body of an RTSP message; more gets 413 and the connection closes.
pub const RTSP_BODY_BYTES: usize = 64 * 1024;
/// Pipelined RTSP requests that wait while one is carried out, and our own that wait for their response; a connection with
/// more stops reading, and further ones of ours are refused.
pub const RTSP_PIPELINE: usize = 32;
/// Octets of the pipelined RTSP requests that wait; a connection with more stops reading.
pub const RTSP_PIPELINE_BYTES: usize = 128 * 1024;
/// Sessions of one RTSP connection; SETUP of one more gets 453.
pub const RTSP_SESSIONS: usize = 16;
/// Streams of one RTSP session, and of one description; SETUP of one more gets 453, further ones of a description are not read.
pub const RTSP_TRACKS: usize = 32;
/// Streams over UDP of one address, of all its sessions that nobody has signed in for; SETUP of one more gets 461, by which
/// players go over to TCP. Where there are few ports, it is half of those for streams.
pub const RTSP_STRANGER_PAIRS: usize = 2_048;
/// PLAY requests that wait in one session for those before them; one more gets 503.
pub const RTSP_QUEUED_PLAYS: usize = 16;
/// Alternatives of one Transport header field; further ones are not tried.
pub const RTSP_TRANSPORTS: usize = 16;
/// Requests in a row that could not be read, and credentials that were wrong; at either the connection closes.
pub const RTSP_FAILURES: u32 = 10;
/// Redirections that a client follows from one URL; with more the request has failed.
pub const RTSP_REDIRECTS: u32 = 5;
/// Halves of HTTP tunnels that wait for their other; one more is refused with 503.
pub const RTSP_TUNNELS: usize = 1_024;
/// The head of an HTTP request that opens a tunnel; a longer one is refused with 400.
pub const RTSP_TUNNEL_HEAD_BYTES: usize = 8 * 1024;
/// An access unit that is put together from RTP packets; a longer one is dropped and counts as lost.
pub const ACCESS_UNIT_BYTES: usize = 8 * 1024 * 1024;
/// Pieces (NAL units, frames) of one access unit; one with more is dropped and counts as lost.
pub const ACCESS_UNIT_PIECES: usize = 4_096;
/// Data items of one FETCH; more get BAD.
pub const IMAP_FETCH_ITEMS: usize = 64;
/// Field names of one HEADER.FIELDS; more get BAD.
pub const IMAP_FETCH_FIELDS: usize = 256;
/// The part of a message's header that HEADER.FIELDS looks at; fields behind it are not shown.
pub const IMAP_HEADER_BYTES: usize = 256 * 1024;
/// Keys of one SEARCH, nested ones counted; more get BAD.
pub const IMAP_SEARCH_KEYS: usize = 1_000;
/// Sessions of IMAP that compress at a time, each with some 400 KiB; COMPRESS of one more gets NO \[LIMIT\].
pub const IMAP_COMPRESSING: usize = 256;
/// Criteria of one SORT; more get BAD.
pub const IMAP_SORT_KEYS: usize = 16;
/// The beginning of a subject or name that SORT and THREAD look at; what differs only behind it counts as equal.
pub const IMAP_SORT_KEY_BYTES: usize = 512;
/// What SORT or THREAD of one session holds of all messages together; with more it is refused with NO \[LIMIT\].
pub const IMAP_SORT_BYTES: usize = 64 * 1024 * 1024;
/// Answers to answers that THREAD looks up through for a loop; a message that would come deeper begins a thread.
pub const IMAP_THREAD_DEPTH: usize = 1_000;
/// Message IDs that are kept of a References field: the first, and the last before the message.
pub const MESSAGE_REFERENCES: usize = 100;
/// Patterns of one LIST; more get BAD.
pub const IMAP_LIST_PATTERNS: usize = 16;
/// Mailboxes of one account, with the names that are only subscribed to; CREATE and SUBSCRIBE beyond get NO \[LIMIT\].
pub const MAILBOXES_PER_ACCOUNT: usize = 2_000;
/// Messages in one APPEND (RFC 3502); more gets NO. Their small bodies are held until the last has come, and fit one batch.
pub const IMAP_APPENDS: usize = 100;
/// Nesting of parentheses in an IMAP command; more gets BAD. SEARCH's OR and NOT have none, and may be as many as its keys.
pub const IMAP_NESTING: usize = 32;
/// Nesting of MIME parts that is described; deeper parts are shown as one opaque part.
pub const MIME_NESTING: usize = 32;
/// MIME parts of one message that are described; more are shown as part of the last.
pub const MIME_PARTS: usize = 500;
/// Expunged messages of one mailbox that are kept for the sessions that have it open and may not know yet; further ones
/// push out those with the lowest UIDs, which FETCH then leaves out.
pub const IMAP_EXPUNGED_KEPT: usize = 4_096;

/// What is kept of them in bytes, without their bodies; beyond it the same happens.
pub const IMAP_EXPUNGED_KEPT_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of all text parts of one message together that SEARCH looks through, since it holds them at once; what comes
/// behind is not found. Of a header it looks through [`MESSAGE_HEADER_BYTES`].
pub const SEARCH_TEXT_BYTES: u64 = 8 * 1024 * 1024;
/// Received fields of a message; one with more is refused with 554 as going round in circles (RFC 5321 §6.3, which wants to see 100 pass).
pub const MAIL_HOPS: usize = 100;
/// DKIM signatures of one message that are checked, the topmost; further ones are passed over.
pub const DKIM_SIGNATURES: usize = 6;
/// Fields that one DKIM signature names; one with more counts as unreadable.
pub const DKIM_FIELDS: usize = 200;
/// Questions to the DNS about the sender of one message; further ones count as not answered.
pub const SENDER_LOOKUPS: usize = 160;
/// Messages whose senders are looked up at one time; another waits, and is taken unproven after 20 s.
pub const SENDER_CHECKS: usize = 64;
/// Messages that one connection to another server begins with; further ones wait for the next.
pub const QUEUE_WORK: usize = 50;
/// MIME parts of one message that is converted for a server that takes less; one with more is not converted.
pub const CONVERTED_PARTS: usize = 10_000;
/// An MTA-STS policy, in bytes, and the servers that it may name; a longer one is none.
pub const STS_POLICY_BYTES: usize = 64 * 1024;
/// See [`STS_POLICY_BYTES`].
pub const STS_SERVERS: usize = 100;
/// MTA-STS policies of other domains that are kept; those that end first are forgotten, and fetched again when they are
/// needed.
pub const STS_POLICIES: usize = 10_000;
/// An answer of a certificate authority, in bytes; a longer one is none.
pub const ACME_ANSWER_BYTES: usize = 256 * 1024;
/// Domain names of one certificate: what Let's Encrypt takes. With more of them the configuration is refused, or those that
/// were added last are left out.
pub const ACME_NAMES: usize = 100;
/// The head of a request to where a challenge is answered; a longer one gets 431.
pub const ACME_REQUEST_BYTES: usize = 16 * 1024;
/// What greylisting remembers, networks and who wrote to whom from there; while it has so many, strangers pass at once.
pub const GREYLISTED: usize = 100_000;
/// Destinations, and accounts, whose outgoing mail an administrator holds back; one more is refused.
pub const QUEUE_HOLDS: usize = 1_000;
/// What a notice shows of the header of the message that it is about; the rest is cut.
pub const REPORT_HEADER_BYTES: u64 = 16 * 1024;
/// What a notice that is to bring back the whole message brings back at most; of a longer one it shows the header.
pub const REPORT_MESSAGE_BYTES: u64 = 1024 * 1024;
/// Header fields of one mail message, those of its parts included, that are read and described; what comes above it is
/// stored and shown, but not looked at.
pub const MESSAGE_HEADER_BYTES: usize = 256 * 1024;
/// Addresses of one mail message, those of messages within it included, that are described: what a session decodes of a
/// message costs some hundred bytes for each. Further ones are stored, and shown in the header only.
pub const MESSAGE_ADDRESSES: usize = 4_096;

/// Parameters and language tags of one mail message, those of its parts included, that are described; as above.
pub const MESSAGE_PARAMETERS: usize = 4_096;

/// A body of at most this many bytes travels inside the batch that names it (64 KiB).
pub const INLINE_BLOB_BYTES: usize = 64 * 1024;
/// A piece of a body as it passes between a session, a machine and a blob.
pub const CHUNK_BYTES: usize = 32 * 1024;
/// Commands that wait in a bounded channel between a session and its connection.
pub const CHANNEL_ITEMS: usize = 64;
/// Names that the directory's cache holds; above it the cache starts anew.
pub const DIRECTORY_CACHE: usize = 200_000;
/// Names of which the directory's cache knows that they do not exist; above it they are forgotten.
pub const DIRECTORY_CACHE_ABSENT: usize = 10_000;
/// Logins that are remembered, one for each account; above it they are forgotten and checked anew.
pub const REMEMBERED_LOGINS: usize = 100_000;
/// Addresses that one alias leads to, or that one account's mail is forwarded to; more are refused.
pub const ALIAS_TARGETS: usize = 500;
/// Aliases and forwards one behind the other from a recipient to whom it means; what lies behind is not reached, and who
/// forwards there keeps the mail.
pub const ALIAS_DEPTH: usize = 10;
/// Addresses that are looked up for one recipient; further ones are not reached.
pub const ALIAS_LOOKUPS: usize = 2_000;
/// Whom one message may reach by aliases and forwards; a recipient that leads beyond gets 452.
pub const MESSAGE_REACHES: usize = 5_000;
/// Devices of one account; one more is refused.
pub const DEVICES_PER_ACCOUNT: usize = 64;
/// Changes of a mailbox that its log keeps; a client that has been away for longer is told everything.
pub const MAILBOX_CHANGES: u64 = 10_000;
/// Operations of one batch of the store; a batch over it is refused and must be cut by its maker.
pub const BATCH_OPERATIONS: usize = 50_000;
/// Keys, values and bodies of one batch together; a batch over it is refused.
pub const BATCH_BYTES: usize = 16 * 1024 * 1024;
/// A key of the store; a batch with a longer one is refused.
pub const KEY_BYTES: usize = 1024;
/// A value of the store; a batch with a longer one is refused.
pub const VALUE_BYTES: usize = 1024 * 1024;
/// What one read brings of records whose length others decide, in octets of keys and values, as far as the record that
/// reaches it; those behind it are read next.
pub const STORE_READ_BYTES: usize = 256 * 1024;
/// Batches that wait for the store's writer; whoever brings one more waits until there is room.
pub const STORE_QUEUE: usize = 1024;
/// What single records that were asked for of late take in memory; the oldest make room.
pub const STORE_RECENT_BYTES: usize = 4 * 1024 * 1024;
/// Sources that one RTP session keeps apart; packets of further ones are dropped and counted.
pub const RTP_MEMBERS: usize = 1_024;
/// Pairs of sockets of one media engine; a leg on a further one is not made.
pub const MEDIA_PAIRS: usize = 32_768;
/// Commands that wait for a media thread; whoever brings one more waits until there is room, and an opened pair is refused.
pub const MEDIA_COMMANDS: usize = 4_096;
/// Events of a media thread that wait for their receiver, beside its channel; over it sound and digits are lost, and
/// counted.
pub const MEDIA_EVENTS: usize = 4_096;
/// Pieces of one playlist; further ones are left out.
pub const PLAYLIST_PIECES: usize = 256;
/// Digits that wait to be sent to one leg; further ones are left out.
pub const DIGITS_WAITING: usize = 64;
/// Addresses that one RTP session remembers for having used its own SSRC; the oldest is forgotten.
pub const RTP_CONFLICTS: usize = 8;
/// Octets of a mount's name, which is the path of its URL, decoded; a longer one is none, and a request about it gets 414.
pub const MOUNT_NAME_BYTES: usize = 255;
/// Names between slashes in a mount's name; a longer one is none.
pub const MOUNT_NAME_PARTS: usize = 8;
/// Packets of a mount that are kept for its readers; the oldest leaves.
pub const MOUNT_RING_PACKETS: usize = 8_192;
/// Octets of the packets of a mount that are kept for its readers; the oldest leave.
pub const MOUNT_RING_BYTES: usize = 8 * 1024 * 1024;
/// Addresses of a server that mounts are pulled from which are tried, one after the other; further ones are not.
pub const PULL_ADDRESSES: usize = 4;
/// How much further behind a mount's newest packet a reader may fall than it was when it began; then it goes on with the
/// newest key frame.
pub const MOUNT_READER_LAG: Duration = Duration::from_secs(3);
/// Parts of a recording that its description tells; more are told to who asks for them.
pub const RANGES_DESCRIBED: usize = 64;
/// Mounts of files and recordings of which it is kept what there is; what was used longest ago is read anew.
pub const SHELVES: usize = 256;
/// Packets of a file or recording that wait for one reader; while there are as many, no more are made.
pub const READER_AHEAD_PACKETS: usize = 512;
/// Mounts whose owners are told when they fall silent; of further ones nobody is told.
pub const MOUNTS_WATCHED: usize = 4_096;
/// Mounts whose recording was switched by hand; a further one is refused.
pub const RECORDED_BY_HAND: usize = 4_096;
/// Octets that a reader of a mount is sent at once; after that the next reader has its turn.
pub const READER_BURST_BYTES: usize = 64 * 1024;
/// Tracks of a mount; a description with more is refused.
pub const MOUNT_TRACKS: usize = 16;
/// Who may listen to a mount within the server at a time, as phones do; one more is refused.
pub const MOUNT_LISTENERS: usize = 1_024;
/// Packets that wait for one of them; of a slow one the newest are lost.
pub const LISTENER_PACKETS: usize = 64;
/// Calls that are mounts at a time; a further one is none, and goes on.
pub const CALL_MOUNTS: usize = 64;
/// Packets of a call's two legs that wait for who listens to it within the server; of a slow one the newest are lost.
pub const TAPPED_PACKETS: usize = 64;
/// Octets of a packet's sound; a longer one is not decoded for a telephone.
pub const HEARD_PACKET_BYTES: usize = 16 * 1024;
/// Octets of the header of a file of media; a file with a longer one is not played.
pub const MEDIA_HEADER_BYTES: u64 = 64 * 1024 * 1024;
/// Octets of the table of one fragment of a file of media; a file with a longer one is not played.
pub const MEDIA_FRAGMENT_TABLE_BYTES: u64 = 4 * 1024 * 1024;
/// Samples of one run of a fragment; a file with more is not played.
pub const MEDIA_FRAGMENT_SAMPLES: usize = 262_144;
/// Samples of a file of media that was written in one piece; one with more is not played.
pub const MEDIA_FILE_SAMPLES: usize = 4_000_000;
/// Packets of one RTP source that wait for others that were sent before them; over it those are given up.
pub const REORDERED_PACKETS: usize = 32;
/// Files of one folder that are listed, and folders; those with the least names are left out.
pub const FILES_LISTED: usize = 100_000;
/// Octets of a file that are read at once; further ones are read with another question.
pub const FILE_READ_BYTES: u64 = 64 * 1024 * 1024;
/// Octets that wait to be appended to files, of all writers together; what comes above it is refused, and its file ends.
pub const FILE_QUEUE_BYTES: usize = 64 * 1024 * 1024;
/// Commands that wait for the writer of files; one more is refused, and its file ends.
pub const FILE_QUEUE: usize = 4_096;
/// Octets of the open fragment of a recording; at it the fragment is closed before its time.
pub const RECORDING_FRAGMENT_BYTES: usize = 16 * 1024 * 1024;
/// Samples of the open fragment of a recording, of all tracks together; at it the fragment is closed before its time.
pub const RECORDING_FRAGMENT_SAMPLES: usize = 16_384;
/// Fragments of one file of media; a file with more is played up to there.
pub const MEDIA_FRAGMENTS: usize = 262_144;
/// What a player holds of each track's octets ahead of what it sends; a longer sample is held alone.
pub const PLAYER_WINDOW_BYTES: u64 = 128 * 1024;
/// Packets that a player has made and not sent yet, in octets; with more it makes no further ones.
pub const PLAYER_QUEUE_BYTES: usize = 256 * 1024;
/// Files of one folder that are played, or of one mount's recordings: the newest.
pub const PLAYED_FILES: usize = 50_000;
