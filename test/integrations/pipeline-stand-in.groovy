// Stands in for Jenkins' pipeline: loads vars/buildnumber.groovy as a global library does, and gives it `sh`, `node`,
// `withEnv`, `withCredentials`, `error` and `env`. Reads one call a line, as JSON ({server, uuid, key, …} or {get:
// [server, uuid]}, plus `agent`), and answers each with one line of JSON. What is real: Groovy, the shell, curl, HTTP.

import groovy.json.JsonOutput
import groovy.json.JsonSlurper

abstract class Pipeline extends Script {
  static Map credentials = [proxy: [user: 'jenkins', password: 'a"b\\c']]
  static Map agent = [:]
  static List log = []
  Map variables = [:]

  Map getEnv() { [NODE_NAME: agent.name] }

  def error(String message) { throw new IllegalStateException(message) }

  def node(Closure body) {
    agent.name = 'any'
    try { return body() } finally { agent.name = null }
  }

  def usernamePassword(Map args) { args }

  def withCredentials(List logins, Closure body) {
    def stored = credentials[logins[0].credentialsId]
    if (!stored) error("no credentials ${logins[0].credentialsId}")
    withEnv(["${logins[0].usernameVariable}=${stored.user}", "${logins[0].passwordVariable}=${stored.password}"], body)
  }

  def withEnv(List pairs, Closure body) {
    def before = new HashMap(variables)
    pairs.each { pair ->
      def (name, value) = pair.toString().split('=', 2)
      variables[name] = value
    }
    try { return body() } finally { variables = before }
  }

  // As Jenkins does: a file run by `sh -xe`; a failure ends the build.
  def sh(Map args) {
    if (!agent.name) error('Required context class hudson.FilePath is missing')
    if (!args.returnStdout) error('expected returnStdout')
    def builder = new ProcessBuilder('sh', '-xe', '-c', args.script.toString())
    builder.environment().putAll(variables)
    def process = builder.start()
    process.outputStream.close()
    def stdout = new StringBuffer()
    def stderr = new StringBuffer()
    process.waitForProcessOutput(stdout, stderr)
    log << stderr.toString()
    if (process.exitValue() != 0) error("script returned exit code ${process.exitValue()}\n${stderr}")
    return stdout.toString()
  }
}

def compiler = new org.codehaus.groovy.control.CompilerConfiguration(scriptBaseClass: Pipeline.name)
def buildnumber = new GroovyShell(getClass().classLoader, new Binding(), compiler).parse(new File(args[0]))

System.in.eachLine { line ->
  def call = new JsonSlurper().parseText(line)
  Pipeline.agent.name = call.remove('agent')
  Pipeline.log.clear()
  def answer
  try {
    def number = call.get ? buildnumber.get(*call.get) : buildnumber(call)
    answer = [number: number, type: number.class.simpleName]
  } catch (IllegalStateException problem) {
    answer = [error: problem.message]
  }
  println JsonOutput.toJson(answer + [log: Pipeline.log.join('\n')])
}
