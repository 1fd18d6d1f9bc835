// SPDX-License-Identifier: MIT
using System.Management.Automation;
using Fleece.Block;
using Fleece.Hosting;
using Fleece.Hosting.Control;
using Fleece.Hosting.Host;
using Fleece.Hosting.Records;
using Fleece.Hosting.Systemd;

namespace Fleece;

/// <summary>Start-FleeceHost: makes this process the host that owns disks, until Ctrl+C or a signal.</summary>
[Cmdlet(VerbsLifecycle.Start, "FleeceHost", SupportsShouldProcess = true)]
[OutputType(typeof(HostInfo))]
public sealed class StartFleeceHostCommand : SilentCommand
{
    private const uint Root = 0;
    private const string DefaultStatePath = "/var/lib/fleece";

    private HostProcess? _host;

    /// <summary>The state directory, which is made where it is missing. Default for root and the user fleece: /var/lib/fleece.</summary>
    [Parameter(Position = 0)]
    [ValidateNotNullOrEmpty]
    [NoScriptBlock]
    public string? StatePath { get; set; }

    /// <summary>The control socket. Default for root and the user fleece: /run/fleece/host.sock.</summary>
    [Parameter(Position = 1)]
    [ValidateNotNullOrEmpty]
    [NoScriptBlock]
    public string? SocketPath { get; set; }

    /// <summary>The group whose members may use the host, by name or number; without one root and the host's own user alone.</summary>
    [Parameter]
    [ValidateNotNullOrEmpty]
    public string? SocketGroup { get; set; }

    /// <summary>The folders in which clients may have images, temp images and sockets opened; without it all folders.</summary>
    [Parameter]
    [ValidateNotNullOrEmpty]
    [NoScriptBlock]
    public string[] AllowedPath { get; set; } = [];

    /// <summary>From when on the log tells of a guest's request as slow, a few lines a minute; 0 for never. Default: 1 second.</summary>
    [Parameter]
    [SecondsTransformation]
    public TimeSpan SlowRequest { get; set; } = HostOptions.DefaultSlowRequest;

    /// <inheritdoc/>
    protected override void EndProcessing() => OrEnd(SocketPath, () =>
    {
        if (!OperatingSystem.IsLinux())
        {
            throw new BlockException(HostErrors.NotHere, "A Fleece host needs Linux, which tells each side the user of the other.");
        }

        string socketPath = PathOf(SocketPath, HostProtocol.DefaultSocketPath, nameof(SocketPath));
        string statePath = PathOf(StatePath, DefaultStatePath, nameof(StatePath));
        if (ShouldProcess(socketPath, "Listen as the Fleece host"))
        {
            Run(statePath, socketPath);
        }
    });

    /// <inheritdoc/>
    /// <remarks>Ctrl+C, and a neighbour in the pipeline that fails, end the host too.</remarks>
    protected override void Dispose(bool disposing)
    {
        if (disposing && _host is not null)
        {
            FleeceModule.EndHost(_host);
        }

        base.Dispose(disposing);
    }

    private void Run(string statePath, string socketPath)
    {
        _host = FleeceModule.StartHost(() => HostProcess.Start(new HostOptions
        {
            StatePath = statePath,
            SocketPath = socketPath,
            SocketGroup = SocketGroup,
            AllowedFolders = [.. AllowedPath.Select(ResolveLiteral)],
            Guard = GuardPrograms.Find,
            SlowRequest = SlowRequest,
            Log = Console.Error,
            Notifier = ServiceNotifier.Take(),
            Inherited = InheritedDescriptors.Take(),
        }));
        Wait(new ValueTask(_host.Ready.WaitAsync(StopToken)));
        Pass(_host.Describe);

        // Ends with Ctrl+C or a signal only.
        Wait(new ValueTask(Task.Delay(Timeout.InfiniteTimeSpan, StopToken)));
    }

    private string PathOf(string? given, string ofSystem, string parameter) =>
        given is not null ? ResolveLiteral(given)
        : SystemUsers.Current == Root || SystemUsers.Current == SystemUsers.FindId(HostProtocol.User) ? ofSystem
        : throw new BlockException(
            BlockErrors.InvalidArgument,
            $"'{ofSystem}' is for the host of the machine, which runs as root or as the user '{HostProtocol.User}'. Name one of your own " +
            $"with -{parameter}.");
}
