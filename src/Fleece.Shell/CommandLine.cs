// SPDX-License-Identifier: MIT
using System.Management.Automation.Runspaces;

namespace Fleece.Shell;

/// <summary>What the caller asks for: a script with its arguments, the usage, or nothing that makes sense.</summary>
internal sealed class CommandLine
{
    /// <summary>The text that <c>--help</c> prints.</summary>
    public const string Usage = """
        Runs a PowerShell script with the Fleece module loaded, where no PowerShell is installed.

        usage: Fleece.Shell <script.ps1> [arguments]
               dotnet run --project src/Fleece.Shell -- <script.ps1> [arguments]

        Arguments reach the script's param block as PowerShell passes them:
          value            a positional argument
          -Name value      a named parameter
          -Name:value      the same in one word; needed for switches, as in -ReadOnly:false
          -Name            a switch

        Exit codes: 0 when the script ends, 1 when a terminating error ends it, N after 'exit N',
        64 for a wrong command line, 66 when there is no such script, 130 after Ctrl+C.

        Only PowerShell's engine is embedded: its core commands (Where-Object, ForEach-Object, Get-Command, ...)
        and the language are there; the Utility and Management modules (Write-Host, Get-Content, ...) are not.
        """;

    private CommandLine(string? script, IReadOnlyList<CommandParameter> arguments, string? error)
    {
        Script = script;
        Arguments = arguments;
        Error = error;
    }

    /// <summary>The script as the caller wrote it; null when only the usage is to be printed.</summary>
    public string? Script { get; }

    /// <summary>The script's arguments in the engine's form.</summary>
    public IReadOnlyList<CommandParameter> Arguments { get; }

    /// <summary>What is wrong with the command line; null when nothing is.</summary>
    public string? Error { get; }

    /// <summary>Reads the shell's own options up to the script; everything after it belongs to the script.</summary>
    public static CommandLine Parse(ReadOnlySpan<string> words)
    {
        if (words.IsEmpty)
        {
            return Wrong("no script was given.");
        }

        string first = words[0];
        if (first is "--help" or "-h" or "-?")
        {
            return new CommandLine(null, [], null);
        }

        if (first.StartsWith('-'))
        {
            return Wrong($"'{first}' is not an option; the script comes first, its arguments after it.");
        }

        // The engine takes any other name for a native program and would start it.
        return first.EndsWith(".ps1", StringComparison.OrdinalIgnoreCase)
            ? new CommandLine(first, ReadArguments(words[1..]), null)
            : Wrong($"'{first}' is not a PowerShell script; its name must end in .ps1.");
    }

    private static CommandLine Wrong(string error) => new(null, [], error);

    /// <summary>
    /// Turns words into parameters without knowing the script's param block: a bare name stays a bare name, and the
    /// engine's binder decides whether it is a switch or takes the next word.
    /// </summary>
    private static List<CommandParameter> ReadArguments(ReadOnlySpan<string> words)
    {
        var arguments = new List<CommandParameter>(words.Length);
        for (int i = 0; i < words.Length; i++)
        {
            string word = words[i];
            int colon = IsParameter(word) ? word.IndexOf(':', StringComparison.Ordinal) : -1;
            if (!IsParameter(word))
            {
                arguments.Add(new CommandParameter(null, word));
            }
            else if (colon < 0)
            {
                arguments.Add(new CommandParameter(word));
            }
            else if (colon < word.Length - 1)
            {
                arguments.Add(new CommandParameter(word[..colon], SwitchValue(word[(colon + 1)..])));
            }
            else if (i + 1 < words.Length)
            {
                i++;
                arguments.Add(new CommandParameter(word[..colon], SwitchValue(words[i])));
            }
            else
            {
                arguments.Add(new CommandParameter(word[..colon]));
            }
        }

        return arguments;
    }

    /// <summary>A negative number or a lone dash is a value, not a name.</summary>
    private static bool IsParameter(string word)
        => word.Length > 1 && word[0] == '-' && (char.IsLetter(word[1]) || word[1] is '_' or '?');

    /// <summary>A switch takes a Boolean only, and a command line carries only text.</summary>
    private static object SwitchValue(string text)
        => bool.TryParse(text.AsSpan(text.StartsWith('$') ? 1 : 0), out bool value) ? value : text;
}
