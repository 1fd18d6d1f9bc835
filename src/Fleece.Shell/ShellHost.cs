// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Management.Automation.Host;

namespace Fleece.Shell;

/// <summary>What the engine sees of this program.</summary>
internal sealed class ShellHost : PSHost
{
    /// <summary>The name scripts find in <c>$Host.Name</c>.</summary>
    public const string ProgramName = "Fleece.Shell";

    private readonly ShellUserInterface _userInterface;

    public ShellHost()
    {
        _userInterface = new ShellUserInterface(Screen);
    }

    /// <summary>Where everything the script says goes.</summary>
    public Screen Screen { get; } = new();

    /// <summary>The number the script passed to <c>exit</c>; null when it did not.</summary>
    public int? ExitCode { get; private set; }

    /// <inheritdoc/>
    public override CultureInfo CurrentCulture { get; } = CultureInfo.CurrentCulture;

    /// <inheritdoc/>
    public override CultureInfo CurrentUICulture { get; } = CultureInfo.CurrentUICulture;

    /// <inheritdoc/>
    public override Guid InstanceId { get; } = Guid.NewGuid();

    /// <inheritdoc/>
    public override string Name => ProgramName;

    /// <inheritdoc/>
    public override PSHostUserInterface UI => _userInterface;

    /// <inheritdoc/>
    public override Version Version { get; } = typeof(ShellHost).Assembly.GetName().Version!;

    /// <inheritdoc/>
    public override void SetShouldExit(int exitCode) => ExitCode = exitCode;

    /// <inheritdoc/>
    public override void EnterNestedPrompt() => throw Unattended.Refuse("A nested prompt");

    /// <inheritdoc/>
    public override void ExitNestedPrompt() => throw Unattended.Refuse("A nested prompt");

    /// <summary>Sends what is formatted as output to standard error until the result is disposed.</summary>
    public IDisposable OutputAsMessages() => _userInterface.OutputAsMessages();

    /// <summary>A native program is about to own the terminal.</summary>
    public override void NotifyBeginApplication() => Screen.EraseProgress();

    /// <inheritdoc/>
    public override void NotifyEndApplication()
    {
    }
}
