// Global pipeline library: the next build number of a counter.
//
//   def number = buildnumber(server: 'https://example.com/buildnumber', uuid: '…', key: env.BUILD_URL)
//   def number = buildnumber.get(server, uuid)        // the call of the older library: no key
//
// With a key, the same build gets the same number however often it asks, so that asking again is safe and is done when
// the service does not answer. `credentialsId` (optional) names a user and password for a proxy before the service.
// Either a number comes back or the build fails: never 0, never nothing. Needs curl, 7.71 or later, on the agent.

Long call(Map args) {
  def unknown = args.keySet() - ['server', 'uuid', 'key', 'credentialsId']
  if (unknown) error("buildnumber: expected server, uuid, key, credentialsId, got ${unknown.join(', ')}")
  if (!args.server || !args.uuid) error('buildnumber: expected a server and a uuid')
  if (args.containsKey('key') && !args.key) error('buildnumber: expected a key that is not empty')
  def key = args.key ? args.key.toString() : ''
  if (!(key ==~ /[ -~]{0,255}/)) error('buildnumber: expected a key of at most 255 printable ASCII characters')

  def ask = {
    if (!args.credentialsId) return post(args.server.toString(), args.uuid.toString(), key)
    def login = usernamePassword(credentialsId: args.credentialsId,
      usernameVariable: 'BUILDNUMBER_USER', passwordVariable: 'BUILDNUMBER_PASSWORD')
    return withCredentials([login]) { post(args.server.toString(), args.uuid.toString(), key) }
  }
  // Under `agent none` there is no machine yet to run curl on.
  return env.NODE_NAME ? ask() : node { ask() }
}

Long get(String server, String uuid) {
  return call(server: server, uuid: uuid)
}

Long post(String server, String uuid, String key) {
  def url = server.replaceAll('/+$', '') + '/' + uuid
  def header = key ? 'Idempotency-Key: "' + key.replaceAll(/[\\"]/, '\\\\$0') + '"' : ''
  // Values reach the shell as variables, never as script; a password reaches curl on its standard input, never as an
  // argument. No --location: a redirected POST may arrive as a GET, which answers the last number, not the next one.
  def script = '''
    { set +x; } 2>/dev/null
    set -- --silent --show-error --fail --globoff --connect-timeout 10 --max-time 30
    if [ -n "$BUILDNUMBER_HEADER" ]; then
      set -- "$@" --header "$BUILDNUMBER_HEADER" --retry 3 --retry-all-errors
    fi
    if [ -n "${BUILDNUMBER_USER-}" ]; then
      login=$(printf '%s:%s' "$BUILDNUMBER_USER" "$BUILDNUMBER_PASSWORD" | sed 's/[\\\\"]/\\\\&/g')
      printf 'user = "%s"\\n' "$login" | curl --config - "$@" --request POST --url "$BUILDNUMBER_URL"
    else
      curl "$@" --request POST --url "$BUILDNUMBER_URL"
    fi
  '''
  def answer = withEnv(["BUILDNUMBER_URL=${url}", "BUILDNUMBER_HEADER=${header}"]) {
    sh(label: 'next build number', returnStdout: true, script: script).trim()
  }
  // As JSON: a part of an answer, from which curl asked again, is then seen.
  if (!(answer ==~ /\{"bn":[1-9][0-9]{0,15}\}/)) error("buildnumber: expected a number from ${url}, got: ${answer}")
  return Long.valueOf(answer.replaceAll(/[^0-9]/, ''))
}
