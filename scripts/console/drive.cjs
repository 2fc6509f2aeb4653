// Works Nacos's console in a real browser as a person would: logs in, creates and edits configurations.
// It must never reach Nacos by anything but what the pages offer: what it publishes is what the console publishes.
//
// One JSON object per line on standard input is one job; one JSON object per line on standard output answers it:
//
//   {"do": "login"}
//   {"do": "create", "namespace": N, "group": G, "dataId": D, "content": C}
//   {"do": "edit", "namespace": N, "group": G, "dataId": D, "content": C}
//   {"do": "open", …}      edit up to the click that publishes, which is {"do": "publish"}'s
//
// The answer to a job that publishes is {"clicked": MS, "saved": MS}: the instants (Unix, milliseconds) when the page got the
// click that publishes, and when Nacos had answered it. What went wrong is {"error": "…"}. Where CONSOLE_PICTURES names
// a directory, pictures of the steps are put there. The end of the input ends the browser.
// The console's address, user and password come from CONSOLE_URL, CONSOLE_USER and CONSOLE_PASSWORD.
'use strict';

const path = require('node:path');
const readline = require('node:readline');
const { chromium } = require('playwright-core');

const { CONSOLE_URL, CONSOLE_USER, CONSOLE_PASSWORD, CONSOLE_PICTURES, CHROMIUM } = process.env;
const patience = 45_000; // milliseconds for a page to show something, on a busy machine

// Without these Chromium asks for hosts of its maker, which a closed network refuses one by one.
const flags = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

let page;
let pictures = 0;

async function picture(name) {
  if (!CONSOLE_PICTURES) return;
  await page.screenshot({ path: path.join(CONSOLE_PICTURES, `${String(++pictures).padStart(2, '0')}-${name}.png`) });
}

const button = (name, within = page) => within.getByRole('button', { name, exact: true });

async function login() {
  await page.goto(CONSOLE_URL);
  await page.locator('#username').fill(CONSOLE_USER);
  await page.locator('#password').fill(CONSOLE_PASSWORD);
  await button('Submit').click();
  await button('Create Configuration').waitFor();
  await picture('logged-in');
  return {};
}

// list opens the list of configurations and chooses the namespace.
async function list({ namespace }) {
  await page.goto('about:blank'); // the address that is open already would not load the list anew
  await page.goto(new URL('#/configurationManagement', CONSOLE_URL).href);
  await button('Create Configuration').waitFor();
  if (namespace === 'public') return;
  await page.getByText(namespace, { exact: true }).first().click();
  await page.waitForURL((url) => url.hash.includes(`namespace=${namespace}&`));
}

// write replaces what is in the editor. It pastes, because the editor indents what is typed.
async function write(content) {
  await page.locator('.monaco-editor .view-lines').first().click();
  await page.keyboard.press('Control+A');
  await page.evaluate((text) => navigator.clipboard.writeText(text), content);
  await page.keyboard.press('Control+V');
}

// publish clicks and waits for Nacos's word on it.
async function publish(control) {
  const saving = page.waitForResponse((r) => r.request().method() === 'POST' && new URL(r.url()).pathname === '/v3/console/cs/config');
  await page.evaluate(() => addEventListener('click', () => { window.clickedAt = Date.now(); }, { capture: true, once: true }));
  await control.click();
  const answer = await saving;
  const saved = Date.now();
  const said = await answer.json();
  if (said.code !== 0 || said.data !== true) throw new Error(`the console was told ${JSON.stringify(said)}`);
  return { clicked: await page.evaluate(() => window.clickedAt), saved };
}

async function create(job) {
  await list(job);
  await button('Create Configuration').click();
  await page.locator('#dataId').fill(job.dataId);
  await page.locator('#group').fill(job.group);
  await page.keyboard.press('Enter');
  await page.getByText('YAML', { exact: true }).click();
  await write(job.content);
  await picture('create');
  const done = await publish(button('Publish'));
  await button('Create Configuration').waitFor();
  await picture('created');
  return done;
}

async function edit(job) {
  await open(job);
  return publishEdit();
}

// open edits up to the last click.
async function open(job) {
  await list(job);
  await page.getByPlaceholder('Default fuzzy query mode opened').first().fill(job.dataId);
  await button('Search').click();
  const row = page.getByRole('row')
    .filter({ has: page.getByText(job.dataId, { exact: true }) })
    .filter({ has: page.getByText(job.group, { exact: true }) });
  await row.getByText('Edit', { exact: true }).click();
  // The page is there before what it edits is: until then what one writes would be replaced.
  await page.waitForFunction(() => document.querySelector('.monaco-editor .view-lines')?.textContent.trim());
  await write(job.content);
  await picture('edit');
  await button('Publish').click();
  await picture('compare');
  return {};
}

// publishEdit clicks in the dialog that compares what was with what will be.
function publishEdit() {
  return publish(button('Publish', page.getByRole('dialog').filter({ hasText: 'Content Comparison' })));
}

const jobs = { login, create, edit, open, publish: publishEdit };

async function main() {
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: flags });
  const context = await browser.newContext({ viewport: { width: 1400, height: 1000 }, locale: 'en-US' });
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: new URL(CONSOLE_URL).origin });
  page = await context.newPage();
  page.setDefaultTimeout(patience);
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const job = JSON.parse(line);
    let answer;
    try {
      answer = await jobs[job.do](job);
    } catch (err) {
      await picture('failed').catch(() => {});
      answer = { error: `${job.do}: ${err.message}` };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
  await browser.close();
}

main().catch((err) => {
  process.stderr.write(`${err.stack}\n`);
  process.exitCode = 1;
});
