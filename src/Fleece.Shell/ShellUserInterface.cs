// SPDX-License-Identifier: MIT
using System.Collections.ObjectModel;
using System.Management.Automation;
using System.Management.Automation.Host;
using System.Security;

namespace Fleece.Shell;

/// <summary>Sends the engine's streams to the screen and asks the few questions a script can ask.</summary>
internal sealed class ShellUserInterface(Screen screen) : PSHostUserInterface
{
    private readonly ShellRawUserInterface _raw = new();
    private bool _outputIsMessage;

    /// <inheritdoc/>
    public override PSHostRawUserInterface RawUI => _raw;

    /// <inheritdoc/>
    public override bool SupportsVirtualTerminal => Screen.OutputTakesEscapes;

    private static PSStyle.FormattingData Styles => PSStyle.Instance.Formatting;

    /// <summary>
    /// Sends what is formatted as output to standard error until the result is disposed. The engine marks an error that
    /// a command reports as belonging there, but has no public mark for one that ended the script.
    /// </summary>
    public IDisposable OutputAsMessages()
    {
        _outputIsMessage = true;
        return new Undo(() => _outputIsMessage = false);
    }

    /// <inheritdoc/>
    public override void Write(string value) => screen.WriteOutput(value, endLine: false);

    /// <inheritdoc/>
    public override void Write(ConsoleColor foregroundColor, ConsoleColor backgroundColor, string value)
        => Write(value);

    /// <inheritdoc/>
    public override void WriteLine(string value)
    {
        if (_outputIsMessage)
        {
            screen.WriteMessage(value);
        }
        else
        {
            screen.WriteOutput(value, endLine: true);
        }
    }

    /// <inheritdoc/>
    public override void WriteErrorLine(string value) => screen.WriteMessage(value);

    /// <inheritdoc/>
    public override void WriteWarningLine(string message)
        => screen.WriteMessage("WARNING: " + message, Styles.Warning);

    /// <inheritdoc/>
    public override void WriteVerboseLine(string message) => screen.WriteMessage("VERBOSE: " + message, Styles.Verbose);

    /// <inheritdoc/>
    public override void WriteDebugLine(string message) => screen.WriteMessage("DEBUG: " + message, Styles.Debug);

    /// <inheritdoc/>
    public override void WriteProgress(long sourceId, ProgressRecord record) => screen.ShowProgress(record);

    /// <inheritdoc/>
    public override string ReadLine() => Console.In.ReadLine() ?? throw Unattended.Refuse("Input");

    /// <inheritdoc/>
    public override SecureString ReadLineAsSecureString() => throw Unattended.Refuse("A hidden prompt");

    /// <summary>Asks until an answer fits; a label has an ampersand before the letter that stands for it.</summary>
    public override int PromptForChoice(
        string caption, string message, Collection<ChoiceDescription> choices, int defaultChoice)
    {
        string options = string.Join("  ", choices.Select(choice => $"[{Letter(choice)}] {Name(choice)}"));
        while (true)
        {
            screen.WriteMessage($"{caption}\n{message}\n{options}".Trim());
            string answer = ReadLine().Trim();
            if (answer.Length == 0 && defaultChoice >= 0)
            {
                return defaultChoice;
            }

            for (int i = 0; i < choices.Count; i++)
            {
                if (answer.Equals(Letter(choices[i]), StringComparison.OrdinalIgnoreCase)
                    || answer.Equals(Name(choices[i]), StringComparison.OrdinalIgnoreCase))
                {
                    return i;
                }
            }
        }
    }

    /// <summary>A missing mandatory parameter is an error of the caller, not a reason to wait for input.</summary>
    public override Dictionary<string, PSObject> Prompt(
        string caption, string message, Collection<FieldDescription> descriptions)
        => throw Unattended.Refuse("A prompt");

    /// <inheritdoc/>
    public override PSCredential PromptForCredential(
        string caption, string message, string userName, string targetName)
        => throw Unattended.Refuse("A password prompt");

    /// <inheritdoc/>
    public override PSCredential PromptForCredential(
        string caption,
        string message,
        string userName,
        string targetName,
        PSCredentialTypes allowedCredentialTypes,
        PSCredentialUIOptions options)
        => throw Unattended.Refuse("A password prompt");

    private static string Name(ChoiceDescription choice) => choice.Label.Replace("&", "", StringComparison.Ordinal);

    private static string Letter(ChoiceDescription choice)
    {
        int mark = choice.Label.IndexOf('&', StringComparison.Ordinal);
        return mark >= 0 && mark + 1 < choice.Label.Length ? choice.Label.Substring(mark + 1, 1) : Name(choice);
    }

    private sealed class Undo(Action action) : IDisposable
    {
        public void Dispose() => action();
    }
}
