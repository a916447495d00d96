// nodemailer submits a message beyond ASCII with an attachment, after STARTTLS and under TLS, by one connection for several and by
// one each; and hears what it may not. Prints what must arrive, as parsed.py prints it.
//
// usage: nodemailer_send.mjs HOST SUBMISSION_PORT SUBMISSIONS_PORT USER PASSWORD TO
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import nodemailer from 'nodemailer';

const [host, port, securePort, user, pass, to] = process.argv.slice(2);
const content = Buffer.from(Array.from({ length: 70_000 }, (_, n) => (n * 7 + (n >> 8)) % 256));
const digest = createHash('sha256').update(content).digest('hex');

for (const secure of [false, true]) {
    const settings = {
        host,
        port: Number(secure ? securePort : port),
        secure,
        requireTLS: true,
        name: 'client.test',
        tls: { rejectUnauthorized: false }
    };
    for (const [authMethod, pool] of [
        ['PLAIN', false],
        ['LOGIN', true]
    ]) {
        const transport = nodemailer.createTransport({ ...settings, pool, authMethod, auth: { user, pass } });
        assert(await transport.verify());
        for (const part of [1, 2]) {
            const subject = `Grüße ${secure} ${authMethod} ${part} ✉`;
            const text = 'Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.\n.\n..\nEnde ✓';
            const info = await transport.sendMail({
                from: { name: 'Älice', address: user },
                to,
                subject,
                text,
                attachments: [{ filename: 'Übersicht.bin', content }]
            });
            assert.deepEqual(info.accepted, [to]);
            assert.match(info.response, /^250 2\.0\.0 /);
            console.log([subject, text.replaceAll('\n', '⏎'), 'Übersicht.bin', content.length, digest].join('|'));
        }
        transport.close();
    }
    const refused = async (auth, mail, code, responseCode) => {
        const transport = nodemailer.createTransport({ ...settings, auth });
        await assert.rejects(transport.sendMail({ from: user, to, text: 'no', ...mail }), error => {
            assert.equal(error.code, code, error.message);
            assert.equal(error.responseCode, responseCode, error.message);
            return true;
        });
        transport.close();
    };
    await refused({ user, pass: 'wrong' }, {}, 'EAUTH', 535);
    await refused({ user, pass }, { from: to }, 'EENVELOPE', 553);
    await refused({ user, pass }, { to: 'nobody@interop.test' }, 'EENVELOPE', 550);
}
