// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Hosting.Records;

namespace Fleece.Hosting.Installing;

/// <summary>Makes the host a service of systemd, and takes it away again.</summary>
/// <remarks>Threading. One call at a time. Errors. <see cref="BlockException"/>; a call that fails has undone its steps, or says which it
/// could not.</remarks>
/// <param name="root">The root folder: "/", or that of a system that is not running.</param>
/// <param name="programs">The system's programs.</param>
internal sealed partial class HostInstaller(string root, SystemPrograms programs)
{
    // useradd(8), EXIT VALUES: the name is in use, also where another service than /etc/passwd has it.
    private const int UserExists = 9;

    private string UnitPath => InRoot(HostUnit.Path);

    /// <summary>The version of systemd; 0 where there is none.</summary>
    public async ValueTask<int> FindSystemdVersionAsync(CancellationToken cancellationToken)
    {
        try
        {
            string said = await programs.RunAsync("systemctl", ["--version"], cancellationToken).ConfigureAwait(false);
            Match version = Version().Match(said);
            return version.Success ? int.Parse(version.Groups[1].ValueSpan, CultureInfo.InvariantCulture) : 0;
        }
        catch (BlockException)
        {
            return 0;
        }
    }

    /// <summary>True when the unit is there.</summary>
    public bool IsInstalled => File.Exists(UnitPath);

    /// <summary>Installs the unit, and starts the host.</summary>
    /// <param name="unit">The unit.</param>
    /// <param name="replaces">True to replace a unit with another text, and to restart its host.</param>
    /// <param name="cancellationToken">Ends the installation; what was done is undone.</param>
    /// <exception cref="BlockException">
    /// <see cref="HostErrors.NotHere"/>: systemd does not run this system; <see cref="HostErrors.AccessRefused"/>: not root;
    /// AlreadyExists: there is another unit; IoFailed: a program of the system fails, with its words.
    /// </exception>
    public async ValueTask<HostInstallation> InstallAsync(HostUnit unit, bool replaces, CancellationToken cancellationToken)
    {
        CheckSystem("Install-FleeceHost", $"Run the host in the foreground: Start-FleeceHost -StatePath {HostUnit.StatePath} " +
            $"-SocketPath {HostUnit.SocketPath}, in a container as its main process.");
        string text = unit.ToString();
        string? old = IsInstalled ? await ReadAsync(UnitPath, cancellationToken).ConfigureAwait(false) : null;
        if (old is not null && old != text && !replaces)
        {
            throw new BlockException(
                BlockErrors.AlreadyExists,
                $"'{UnitPath}' exists and differs from the unit that would be written. Compare it with Install-FleeceHost -WhatIf; -Force " +
                "replaces it and restarts the host.",
                UnitPath);
        }

        UndoableSteps steps = new();
        try
        {
            await AddUserAsync(steps, cancellationToken).ConfigureAwait(false);
            bool isReplaced = old is not null && old != text;
            if (old != text)
            {
                WriteUnit(text);
                steps.Note($"Wrote '{UnitPath}'.", () => RestoreAsync(old));
            }

            await ControlAsync(steps, ["daemon-reload"], cancellationToken).ConfigureAwait(false);
            // From here on systemd starts the host at boot, and tries one that failed again.
            steps.Note($"Gave '{HostUnit.Name}' to systemd.", old is null ? StopAsync : null);
            await ControlAsync(steps, ["enable", HostUnit.Name], cancellationToken).ConfigureAwait(false);
            await ControlAsync(steps, [isReplaced ? "restart" : "start", HostUnit.Name], cancellationToken).ConfigureAwait(false);
            return Describe(text, steps.Done);
        }
        catch (BlockException e)
        {
            throw await steps.UndoAsync(e).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            await steps.UndoAsync(new BlockException(BlockErrors.Stopped, "The installation was stopped.")).ConfigureAwait(false);
            throw;
        }
    }

    /// <summary>Refuses to uninstall where no host is installed, and where this process can't.</summary>
    /// <exception cref="BlockException">As <see cref="UninstallAsync"/>.</exception>
    public void CheckCanUninstall()
    {
        if (!IsInstalled)
        {
            throw new BlockException(BlockErrors.NotFound, $"No host is installed here: there is no '{UnitPath}'.", UnitPath);
        }

        CheckSystem("Uninstall-FleeceHost", $"Remove '{UnitPath}' by hand; a system that does not run has no more of the host.");
    }

    /// <summary>Stops the host and removes the unit.</summary>
    /// <param name="removesState">True to delete the host's state too.</param>
    /// <param name="removesUser">True to delete its user and group too.</param>
    /// <param name="cancellationToken">Ends the work between two steps.</param>
    /// <exception cref="BlockException">As <see cref="InstallAsync"/>; NotFound: no host is installed.</exception>
    public async ValueTask<HostInstallation> UninstallAsync(bool removesState, bool removesUser, CancellationToken cancellationToken)
    {
        CheckCanUninstall();
        string text = await ReadAsync(UnitPath, cancellationToken).ConfigureAwait(false);
        UndoableSteps steps = new();
        await ControlAsync(steps, ["stop", HostUnit.Name], cancellationToken).ConfigureAwait(false);
        await ControlAsync(steps, ["disable", HostUnit.Name], cancellationToken).ConfigureAwait(false);
        FileNames.DeleteDurably(UnitPath);
        steps.Note($"Removed '{UnitPath}'.");
        await ControlAsync(steps, ["daemon-reload"], cancellationToken).ConfigureAwait(false);
        RemoveFolder(steps, "/var/cache/fleece");
        if (removesState)
        {
            RemoveFolder(steps, HostUnit.StatePath);
        }

        if (removesUser && HasLine("/etc/passwd"))
        {
            await RemoveUserAsync(keepsGroup: false, cancellationToken).ConfigureAwait(false);
            steps.Note($"Removed the user and the group '{HostUnit.User}'.");
        }

        return Describe(text, steps.Done);
    }

    /// <summary>True when the state directory holds something.</summary>
    public bool HasState
    {
        get
        {
            string path = InRoot(HostUnit.StatePath);
            return Directory.Exists(path) && Directory.EnumerateFileSystemEntries(path).Any();
        }
    }

    private string[] Prefix => root == "/" ? [] : ["--prefix", root];

    private string InRoot(string path) => Path.Combine(root, path[1..]);

    private void CheckSystem(string cmdlet, string advice)
    {
        // sd_booted(3): how to tell that systemd is process 1.
        if (!OperatingSystem.IsLinux() || !Directory.Exists(InRoot("/run/systemd/system")))
        {
            throw new BlockException(HostErrors.NotHere, $"{cmdlet} needs systemd as the system's process 1, and that is not so here. {advice}");
        }

        if (PosixStat.UserId != 0)
        {
            throw new BlockException(HostErrors.AccessRefused, $"{cmdlet} needs root: run it in a PowerShell that sudo started.");
        }
    }

    private async ValueTask AddUserAsync(UndoableSteps steps, CancellationToken cancellationToken)
    {
        if (HasLine("/etc/passwd"))
        {
            return;
        }

        bool hasGroup = HasLine("/etc/group");
        string[] group = hasGroup ? ["--gid", HostUnit.User] : ["--user-group"];
        string[] arguments =
        [
            .. Prefix, "--system", .. group, "--no-create-home", "--home-dir", HostUnit.StatePath, "--shell", "/usr/sbin/nologin",
            "--comment", "Fleece host", HostUnit.User,
        ];
        (int exitCode, string output) = await programs.TryRunAsync("useradd", arguments, cancellationToken).ConfigureAwait(false);
        if (exitCode is not (0 or UserExists))
        {
            throw SystemPrograms.Failure("useradd", arguments, exitCode, output);
        }

        if (exitCode == 0)
        {
            steps.Note($"Made the user '{HostUnit.User}', and its group where it was missing.", () => UndoUserAsync(hasGroup));
        }
    }

    // Files of a host that has run keep their owner: another user with its number would own them.
    private ValueTask UndoUserAsync(bool hadGroup) => HasState
        ? throw new BlockException(BlockErrors.InUse, $"'{InRoot(HostUnit.StatePath)}' holds files of the user.")
        : RemoveUserAsync(keepsGroup: hadGroup, CancellationToken.None);

    // Whether userdel takes the group too is for login.defs(5), USERGROUPS_ENAB.
    private async ValueTask RemoveUserAsync(bool keepsGroup, CancellationToken cancellationToken)
    {
        await programs.RunAsync("userdel", [.. Prefix, HostUnit.User], cancellationToken).ConfigureAwait(false);
        if (!keepsGroup && HasLine("/etc/group"))
        {
            await programs.RunAsync("groupdel", [.. Prefix, HostUnit.User], cancellationToken).ConfigureAwait(false);
        }
    }

    private async ValueTask ControlAsync(UndoableSteps steps, string[] arguments, CancellationToken cancellationToken)
    {
        await programs.RunAsync("systemctl", arguments, cancellationToken).ConfigureAwait(false);
        steps.Note($"Ran 'systemctl {string.Join(' ', arguments)}'.");
    }

    private async ValueTask UndoControlAsync(params string[] arguments) =>
        await programs.RunAsync("systemctl", arguments, CancellationToken.None).ConfigureAwait(false);

    private async ValueTask StopAsync()
    {
        await UndoControlAsync("stop", HostUnit.Name).ConfigureAwait(false);
        await UndoControlAsync("disable", HostUnit.Name).ConfigureAwait(false);
    }

    // The host of the old unit runs again, with what it served.
    private async ValueTask RestoreAsync(string? old)
    {
        if (old is null)
        {
            FileNames.DeleteDurably(UnitPath);
            await UndoControlAsync("daemon-reload").ConfigureAwait(false);
            return;
        }

        WriteUnit(old);
        await UndoControlAsync("daemon-reload").ConfigureAwait(false);
        await UndoControlAsync("restart", HostUnit.Name).ConfigureAwait(false);
    }

    // Whole or not at all, also when the machine loses power.
    private void WriteUnit(string text)
    {
        string partial = UnitPath + ".partial";
        FileNames.Delete(partial);
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(UnitPath)!);
            File.WriteAllText(partial, text, new UTF8Encoding(encoderShouldEmitUTF8Identifier: false));
            if (!OperatingSystem.IsWindows())
            {
                File.SetUnixFileMode(
                    partial, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
            }

            FileNames.FlushClosed(partial);
            FileNames.Move(partial, UnitPath, overwrite: true);
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            throw FileErrors.From(e, UnitPath, "write");
        }
    }

    private static async ValueTask<string> ReadAsync(string path, CancellationToken cancellationToken)
    {
        try
        {
            return await File.ReadAllTextAsync(path, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            throw FileErrors.From(e, path, "read");
        }
    }

    private void RemoveFolder(UndoableSteps steps, string path)
    {
        string folder = InRoot(path);
        try
        {
            if (Directory.Exists(folder))
            {
                Directory.Delete(folder, recursive: true);
                steps.Note($"Removed '{folder}'.");
            }
        }
        catch (Exception e) when (FileErrors.IsFromSystem(e))
        {
            throw FileErrors.From(e, folder, "delete");
        }
    }

    // passwd(5) and group(5): the name stands before the first colon.
    private bool HasLine(string file) =>
        File.Exists(InRoot(file)) &&
        File.ReadLines(InRoot(file)).Any(line => line.StartsWith(HostUnit.User + ":", StringComparison.Ordinal));

    private HostInstallation Describe(string text, IReadOnlyList<string> steps) => new()
    {
        UnitPath = UnitPath,
        UnitText = text,
        User = HostUnit.User,
        SocketPath = HostUnit.SocketPath,
        StatePath = HostUnit.StatePath,
        Steps = steps,
    };

    [GeneratedRegex(@"^systemd (\d+)")]
    private static partial Regex Version();
}
