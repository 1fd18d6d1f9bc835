// SPDX-License-Identifier: MIT
using System.Diagnostics;
using Fleece.Block.Files;
using Fleece.Hosting.Installing;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.Systemd;

/// <summary>A host that Install-FleeceHost has installed, with the staged module and a real PowerShell, under a systemd of its own.</summary>
/// <remarks>The namespaces have an /etc, a /var/lib and a /run of their own, so nothing of the machine changes. Images lie in /srv/vm.
/// The test is skipped, with the reason, where no module is staged or systemd does not start.</remarks>
internal sealed class InstalledHost : IAsyncDisposable
{
    public const string ImageFolder = "/srv/vm";
    public const string WebSocket = "/run/fleece/web.sock";

    // The PowerShell and the module lie in folders that the service's user can reach, wherever the checkout is.
    private const string Prepare = """
        mkdir /run/etc && cp -a /etc/. /run/etc && mount --bind /run/etc /etc && rm -rf /etc/systemd/system &&
        mkdir -p /etc/systemd/system/fleece.service.d &&
        printf '[Service]\nStandardError=append:/run/fleece.log\n' >/etc/systemd/system/fleece.service.d/log.conf &&
        mount -t tmpfs -o mode=755 none /var/lib && mount -t tmpfs -o mode=755 none /var/cache && mount -t tmpfs -o mode=755 none /srv &&
        mkdir /srv/dotnet /srv/pwsh /srv/module /srv/vm &&
        mount --bind '{0}' /srv/dotnet && mount --bind '{1}' /srv/pwsh && mount --bind '{2}' /srv/module && mount --bind "$1/vm" /srv/vm
        """;

    private readonly TempFolder _folder;

    private InstalledHost(TempFolder folder, PrivateSystemd systemd)
    {
        _folder = folder;
        Systemd = systemd;
    }

    public PrivateSystemd Systemd { get; }

    /// <summary>Installs the host, which is ready when this returns. Its user is a member of the group "guests" too.</summary>
    public static async Task<InstalledHost> StartAsync()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux() && PosixStat.UserId == 0, "needs root on Linux");
        Peer.Need("useradd", "usermod", "groupadd", "setpriv", "qemu-io", "dotnet");
        string root = FindRoot();
        string? module = FindModule(root);
        Assert.SkipWhen(module is null, "no module is staged: run ./build.ps1 first, or set FLEECE_MODULE to its manifest");
        string[] shell = (await PowerShellOfAsync(root)).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        TempFolder folder = new();
        try
        {
            Directory.CreateDirectory(folder.File("vm"));
            string prepare = Prepare.Replace("{0}", Path.GetDirectoryName(shell[1]), StringComparison.Ordinal)
                .Replace("{1}", shell[0], StringComparison.Ordinal)
                .Replace("{2}", module, StringComparison.Ordinal);
            InstalledHost installed = new(folder, await PrivateSystemd.StartAsync(folder, prepare));
            try
            {
                await installed.InstallAsync();
                return installed;
            }
            catch
            {
                await installed.DisposeAsync();
                throw;
            }
        }
        catch when (Directory.Exists(folder.Path))
        {
            folder.Dispose();
            throw;
        }
    }

    /// <summary>Runs a script in a shell of its own, with the module; what it wrote.</summary>
    public async Task<string> ShellAsync(string script) => await Systemd.RunAsync(
        "env",
        "HOME=/root",
        "/srv/dotnet/dotnet",
        "/srv/pwsh/pwsh.dll",
        "-NoProfile",
        "-NonInteractive",
        "-Command",
        $"$ErrorActionPreference = 'Stop'; Import-Module /srv/module/Fleece.psd1; {script}");

    /// <summary>Makes an image of the host's user and mounts it as the disk web, served at <see cref="WebSocket"/>.</summary>
    public async Task MountWebAsync() => await ShellAsync(
        $"$null = New-FleeceImage {ImageFolder}/web.qcow2 -SizeBytes 64MB; chown fleece: {ImageFolder}/web.qcow2; " +
        $"$null = Mount-FleeceDisk {ImageFolder}/web.qcow2 -ListenUri 'nbd+unix:///?socket={WebSocket}' -SocketGroup guests");

    /// <summary>A property of the service.</summary>
    public async Task<string> ShowAsync(string property) =>
        (await Systemd.ControlAsync("show", $"--property={property}", "--value", HostUnit.Name)).Trim();

    /// <summary>Starts a program as a user who may reach the disks' sockets and nothing else.</summary>
    public Process StartAsGuest(string[] command) =>
        Systemd.Start(["setpriv", "--reuid=65534", "--regid=guests", "--clear-groups", .. command]);

    /// <summary>Waits until the service's status line says this.</summary>
    public async Task UntilStatusAsync(string status)
    {
        while (await ShowAsync("StatusText") != status)
        {
            await Task.Delay(50, TestContext.Current.CancellationToken);
        }
    }

    public async ValueTask DisposeAsync()
    {
        PeerResult log = await Peer.TryRunAsync("sh", "-c", "true");
        try
        {
            log = new PeerResult(0, await Systemd.RunAsync("cat", "/run/fleece.log"));
        }
        finally
        {
            TestContext.Current.TestOutputHelper?.WriteLine(log.Output);
            await Systemd.DisposeAsync();
            _folder.Dispose();
        }
    }

    private async Task InstallAsync()
    {
        await ShellAsync($"$null = Install-FleeceHost {ImageFolder} -PowerShellPath /srv/pwsh");
        await Systemd.RunAsync("chown", "fleece:", ImageFolder);
        await Systemd.RunAsync("groupadd", "guests");
        await Systemd.RunAsync("usermod", "-aG", "guests", "fleece");
        await Systemd.ControlAsync("restart", HostUnit.Name);
    }

    private static string FindRoot()
    {
        DirectoryInfo? folder = new(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "build.ps1")))
        {
            folder = folder.Parent;
        }

        Assert.SkipWhen(folder is null, "the tests do not run in a checkout, so no staged module is known");
        return folder!.FullName;
    }

    private static string? FindModule(string root)
    {
        if (Environment.GetEnvironmentVariable("FLEECE_MODULE") is { Length: > 0 } manifest)
        {
            return Path.GetDirectoryName(manifest);
        }

        string staged = Path.Combine(root, "output", "Fleece");
        return Directory.Exists(staged)
            ? Directory.GetDirectories(staged).Where(folder => File.Exists(Path.Combine(folder, "Fleece.psd1")))
                .MaxBy(folder => Version.Parse(Path.GetFileName(folder)))
            : null;
    }

    // The PowerShell that the checkout pins: its folder, and the dotnet that runs it.
    private static async Task<string> PowerShellOfAsync(string root)
    {
        PeerResult said = await Peer.TryRunAsync(
            "sh",
            "-c",
            "cd \"$0\" && dotnet tool exec powershell --yes -- -NoProfile -Command '\"$PSHOME`n$([Environment]::ProcessPath)\"'",
            root);
        Assert.SkipUnless(said.ExitCode == 0, $"the PowerShell of the checkout does not run here: {said.Output}");
        return said.Output;
    }
}
