// Requests to the server of the runs. What it refuses is an Error with its own message.

// Ask for a path below training/; with a body, as POST. Return the JSON of the answer.
export async function ask(path, body) {
  const options = body === undefined ? {} : { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
  let answer;
  try {
    answer = await fetch(`training${path}`, options);
  } catch {
    throw new Error("The server does not respond. Is it still running?");
  }
  let found;
  try {
    found = await answer.json();
  } catch {
    throw new Error(`The server answered ${answer.status} without a reason.`);
  }
  if (!answer.ok) throw new Error(found.error ?? `The server answered ${answer.status}.`);
  return found;
}
