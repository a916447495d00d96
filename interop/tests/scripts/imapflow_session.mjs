// A session with imapflow, which compresses, lists with STATUS, asks for quota and waits with IDLE; by STARTTLS and by TLS.
//
// usage: imapflow_session.mjs HOST PLAIN_PORT TLS_PORT USER PASSWORD
import assert from 'node:assert/strict';
import { ImapFlow } from 'imapflow';

const [host, plainPort, tlsPort, user, pass] = process.argv.slice(2);

const connect = async secure => {
    const client = new ImapFlow({
        host,
        port: Number(secure ? tlsPort : plainPort),
        secure,
        auth: { user, pass },
        logger: false,
        tls: { rejectUnauthorized: false }
    });
    await client.connect();
    return client;
};

for (const secure of [false, true]) {
    const client = await connect(secure);
    assert(client.capabilities.has('COMPRESS=DEFLATE') || client.enabled, 'it was offered');
    const name = `Flow ${secure}`;
    await client.mailboxCreate([name, 'Grüße']);
    const listed = await client.list({ statusQuery: { messages: true, unseen: true } });
    const find = path => listed.find(mailbox => mailbox.path === path);
    assert.equal(find('Sent').specialUse, '\\Sent');
    assert.equal(find('INBOX').specialUse, '\\Inbox');
    assert.equal(find(`${name}/Grüße`).status.messages, 0);
    const quota = await client.getQuota('INBOX');
    assert(quota === false || quota.path === 'INBOX', JSON.stringify(quota));
    const text = subject => `From: x@elsewhere.test\r\nSubject: ${subject}\r\n\r\n${'text '.repeat(2000)}\r\n`;
    const appended = await client.append(name, text('one'), ['\\Seen']);
    assert.equal(appended.uid, 1);
    await client.append(name, text('two'));
    const lock = await client.getMailboxLock(name);
    try {
        assert.equal(client.mailbox.exists, 2);
        const subjects = [];
        for await (const message of client.fetch('1:*', { envelope: true, flags: true, bodyStructure: true, source: true })) {
            subjects.push(message.envelope.subject);
            assert.equal(message.source.toString(), text(message.envelope.subject));
        }
        assert.deepEqual(subjects, ['one', 'two']);
        assert.deepEqual(await client.search({ seen: false }, { uid: true }), [2]);
        const { content } = await client.download('2', '1');
        let body = '';
        for await (const chunk of content) {
            body += chunk;
        }
        assert(body.startsWith('text text'));
        assert(await client.messageFlagsAdd('2', ['\\Flagged']));
        const moved = await client.messageMove('1', 'Archive');
        assert.equal(moved.uidMap.size, 1);
        // Another session's message is told to the one that waits.
        const told = new Promise(resolve => client.once('exists', resolve));
        const idling = client.idle();
        const other = await connect(true);
        await other.append(name, text('three'));
        assert.equal((await told).count, 2);
        await other.logout();
        await client.noop();
        await idling;
        assert(await client.messageDelete({ all: true }));
    } finally {
        lock.release();
    }
    await client.mailboxDelete(`${name}/Grüße`);
    await client.mailboxDelete(name);
    await client.logout();
}
