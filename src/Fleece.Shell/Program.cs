// SPDX-License-Identifier: MIT
namespace Fleece.Shell;

/// <summary>Entry point: from the command line to an exit code.</summary>
internal static class Program
{
    private static void Main(string[] words)
    {
        // A script may leave foreground threads behind; they must not keep a finished shell alive.
        Environment.Exit(Execute(words));
    }

    private static int Execute(string[] words)
    {
        CommandLine commandLine = CommandLine.Parse(words);
        if (commandLine.Error is not null)
        {
            Console.Error.WriteLine($"Fleece.Shell: {commandLine.Error}");
            Console.Error.WriteLine();
            Console.Error.WriteLine(CommandLine.Usage);
            return ExitCode.Usage;
        }

        if (commandLine.Script is null)
        {
            Console.Out.WriteLine(CommandLine.Usage);
            return ExitCode.Success;
        }

        string path = Path.GetFullPath(commandLine.Script);
        if (!File.Exists(path))
        {
            string what = Directory.Exists(path) ? "is a directory, not a script" : "does not exist";
            Console.Error.WriteLine($"Fleece.Shell: '{path}' {what}.");
            return ExitCode.NoInput;
        }

        using var run = new ScriptRun();
        return run.Execute(path, commandLine.Arguments);
    }
}
