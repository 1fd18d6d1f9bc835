// SPDX-License-Identifier: MIT
using System.Globalization;
using Fleece.Block;

namespace Fleece.Hosting.Installing;

/// <summary>The unit by which systemd runs the host.</summary>
/// <remarks>The text is the same for the same values, so a unit that differs from it was made by another version, or edited.</remarks>
internal sealed record HostUnit
{
    /// <summary>The service's name for systemctl.</summary>
    public const string Name = "fleece.service";

    /// <summary>Where the unit of an administrator lies: systemd.unit(5).</summary>
    public const string Path = "/etc/systemd/system/" + Name;

    /// <summary>The user and the group that the host runs as.</summary>
    public const string User = "fleece";

    /// <summary>Where the host keeps its state.</summary>
    public const string StatePath = "/var/lib/fleece";

    /// <summary>The host's control socket.</summary>
    public const string SocketPath = "/run/fleece/host.sock";

    /// <summary>Most listeners that systemd keeps over a restart.</summary>
    public const int StoredDescriptors = 2048;

    // A disk takes a dozen descriptors and, with a guest at work, some 20 threads: room for 1000 disks and for the clients' leases.
    private const int MaximumTasks = 32768;
    private const int MaximumDescriptors = 65536;

    // How long systemd waits before it kills. The host closes disks for 75 s at most, says so, and then ends by itself.
    private const int StopSeconds = 90;

    // A mount may have to count the refcounts of a large image anew.
    private const int StartSeconds = 900;

    // The first systemd with FileDescriptorStorePreserve=.
    private const int PreservesSince = 254;

    /// <summary>What runs PowerShell.</summary>
    public required PowerShellProgram PowerShell { get; init; }

    /// <summary>The module's manifest, Fleece.psd1.</summary>
    public required string ModulePath { get; init; }

    /// <summary>Folders whose images the host may open.</summary>
    public IReadOnlyList<string> ImageFolders { get; init; } = [];

    /// <summary>The version of systemd; 0 where it is not known.</summary>
    public int SystemdVersion { get; init; }

    /// <summary>The arguments of the PowerShell that runs the host.</summary>
    public IReadOnlyList<string> Arguments =>
    [
        .. PowerShell.Assembly is null ? Array.Empty<string>() : [PowerShell.Assembly],
        "-NoLogo", "-NoProfile", "-NonInteractive", "-Command", Command,
    ];

    // Import-Module takes a name for a pattern, and a backtick before a character for the character itself.
    private string Command =>
        $"$ErrorActionPreference = 'Stop'; Import-Module {PowerShellText.Literal(EscapePattern(ModulePath))}; " +
        $"Start-FleeceHost -StatePath {PowerShellText.Literal(StatePath)} -SocketPath {PowerShellText.Literal(SocketPath)} " +
        $"-SocketGroup {PowerShellText.Literal(User)}" +
        (ImageFolders.Count == 0
            ? string.Empty
            : $" -AllowedPath {string.Join(", ", ImageFolders.Select(PowerShellText.Literal))}");

    /// <summary>Refuses paths that systemd or PowerShell reads as others.</summary>
    /// <exception cref="BlockException">InvalidArgument.</exception>
    public void Check()
    {
        // systemd's own rule for programs ("Executable name contains special characters"); their arguments may hold anything.
        if (!PrintableText.IsPrintable(PowerShell.Path) || PowerShell.Path.AsSpan().IndexOfAny("\"'\\") >= 0)
        {
            throw Refused(PowerShell.Path, "systemd starts no program whose path holds quotation marks, backslashes or control characters");
        }

        if (ModulePath.Contains('\\', StringComparison.Ordinal))
        {
            throw Refused(ModulePath, "PowerShell reads a backslash in the path of a module as a slash");
        }
    }

    private static BlockException Refused(string path, string reason) =>
        new(BlockErrors.InvalidArgument, $"'{path}' can't be part of a service: {reason}. Move it to a folder with a plain name.", path);

    private bool UsesHome => ImageFolders.Append(PowerShell.Path).Append(PowerShell.ShownPath).Append(ModulePath)
        .Any(ServicePlaces.IsInHome);

    private bool UsesDevices => ImageFolders.Any(folder => (folder + "/").StartsWith("/dev/", StringComparison.Ordinal));

    /// <inheritdoc/>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"""
        # Written by Install-FleeceHost; it refuses to replace an edited file without -Force. Changes of your own belong into a drop-in:
        # systemctl edit fleece
        [Unit]
        Description=Fleece host: disks that outlive a shell
        # Disks are served before guests start, and until guests have ended.
        Before=libvirtd.service virtqemud.service libvirt-guests.service
        After=local-fs.target remote-fs.target network.target

        [Service]
        Type=notify
        NotifyAccess=main
        ExecStart={ExecStart}
        User={User}
        Group={User}
        UMask=0027
        StateDirectory=fleece
        StateDirectoryMode=0750
        CacheDirectory=fleece
        CacheDirectoryMode=0750
        # Others than the group may reach the sockets of disks by their names (-SocketMode), and list nothing. A restart leaves the files.
        RuntimeDirectory=fleece
        RuntimeDirectoryMode=0751
        RuntimeDirectoryPreserve=restart
        # The listeners of disks stay open over a restart, so clients wait and are not refused.
        FileDescriptorStoreMax={StoredDescriptors}{Preserve}
        Environment=HOME={StatePath} XDG_CACHE_HOME=/var/cache/fleece XDG_CONFIG_HOME=/var/cache/fleece XDG_DATA_HOME=/var/cache/fleece
        Environment=POWERSHELL_TELEMETRY_OPTOUT=1 POWERSHELL_UPDATECHECK=Off DOTNET_CLI_TELEMETRY_OPTOUT=1 FLEECE_HOST=none
        # The runtime compiles less again while disks are served; the threshold is hexadecimal.
        Environment=DOTNET_TieredPGO=0 DOTNET_TC_CallCountThreshold=400 DOTNET_TC_CallCountingDelayMs=0

        TimeoutStartSec={StartSeconds}
        # The host closes disks for 75 s at most.
        TimeoutStopSec={StopSeconds}
        KillMode=mixed
        # PowerShell's exit code after SIGTERM: a host that was stopped has not failed.
        SuccessExitStatus=143
        Restart=on-failure
        RestartSec=2
        # Guests wait for this process: others go first when memory is short.
        OOMScoreAdjust=-500
        # Room for 1000 disks with guests at work, each with threads and descriptors of its own.
        TasksMax={MaximumTasks}
        LimitNOFILE={MaximumDescriptors}
        # A core would hold data of guests.
        LimitCORE=0

        # The host reads everything and writes to its own folders and those of images.
        ProtectSystem=strict{WritablePaths}
        ProtectHome={(UsesHome ? "read-only" : "yes")}
        PrivateTmp=yes
        PrivateDevices={(UsesDevices ? "no" : "yes")}
        PrivateMounts=yes
        RemoveIPC=yes
        NoNewPrivileges=yes
        CapabilityBoundingSet=
        RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
        RestrictNamespaces=yes
        RestrictRealtime=yes
        RestrictSUIDSGID=yes
        LockPersonality=yes
        ProtectClock={(UsesDevices ? "no" : "yes")}
        ProtectControlGroups=yes
        ProtectHostname=yes
        ProtectKernelLogs=yes
        ProtectKernelModules=yes
        ProtectKernelTunables=yes
        SystemCallArchitectures=native
        SystemCallFilter=@system-service
        SystemCallFilter=~@keyring @setuid
        SystemCallErrorNumber=EPERM
        # Left out: MemoryDenyWriteExecute= and NoExecPaths= stop the JIT compiler of .NET, PrivateUsers= hides which user a client is, and
        # ProcSubset=pid hides the machine's memory, by which .NET sizes its heap.

        [Install]
        WantedBy=multi-user.target

        """);

    private string ExecStart => string.Join(' ', Arguments.Select(UnitSyntax.Argument).Prepend(UnitSyntax.Word(PowerShell.Path)));

    private string Preserve => SystemdVersion >= PreservesSince ? "\nFileDescriptorStorePreserve=restart" : string.Empty;

    // A folder that is not there, a file system that is not mounted yet for one, keeps no other disk down: the "-".
    private string WritablePaths => string.Concat(ImageFolders.Select(folder => $"\nReadWritePaths={UnitSyntax.Word("-" + folder)}"));

    private static string EscapePattern(string path) =>
        string.Concat(path.Select(character => character is '*' or '?' or '[' or ']' or '`' ? $"`{character}" : character.ToString()));
}
