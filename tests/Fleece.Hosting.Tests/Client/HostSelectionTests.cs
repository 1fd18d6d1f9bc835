// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks;
using Fleece.Hosting.Client;
using Fleece.Hosting.Control;
using Fleece.Hosting.Local;
using Fleece.Hosting.Records;
using Fleece.Hosting.Tests.Host;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.Client;

/// <summary>Which process owns the disks: a host that was connected to, one that the environment names, an installed one, or
/// this one.</summary>
public sealed class HostSelectionTests : IAsyncDisposable
{
    private readonly FakeHost _host = new();
    private readonly TempFolder _folder = new();
    private readonly LocalOwner _local = new(new MountedDisks(), HostRig.NoGuard);
    private readonly HostSelection _selection;
    private string? _named;

    public HostSelectionTests()
    {
        HostPlaces places = new(_folder.File("host.sock"), _folder.File("fleece.service"), () => _named);
        _selection = new HostSelection(_local, path => new HostOwner(_host.Address with { SocketPath = path }), places);
    }

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Without_an_installed_host_this_process_owns_the_disks()
    {
        Assert.Same(_local, await _selection.FindAsync(Token));

        HostInfo info = await _selection.GetInfoAsync(Token);
        Assert.True(info.IsThisProcess);
        Assert.Null(info.SocketPath);
        Assert.Equal(Environment.ProcessId, info.ProcessId);
        Assert.NotEmpty(info.User);
        Assert.True(info.WorkingSetBytes > 0 && info.Uptime > TimeSpan.Zero);
    }

    [Theory]
    [InlineData("fleece.service")]
    [InlineData("host.sock")]
    public async Task An_installed_host_that_is_silent_is_an_error_and_never_this_process(string file)
    {
        await File.WriteAllTextAsync(_folder.File(file), string.Empty, Token);

        BlockException e = await Assert.ThrowsAsync<BlockException>(() => _selection.FindAsync(Token).AsTask());

        Assert.Equal(HostErrors.NotRunning, e.Kind);
    }

    [Fact]
    public async Task The_environment_asks_for_this_process_beside_an_installed_host()
    {
        await File.WriteAllTextAsync(_folder.File("fleece.service"), string.Empty, Token);
        _named = "none";

        Assert.Same(_local, await _selection.FindAsync(Token));
    }

    [Fact]
    public async Task The_environment_names_a_host()
    {
        _host.Start();
        _named = _host.Address.SocketPath;

        IDiskOwner owner = await _selection.FindAsync(Token);

        Assert.Equal(_host.Address.SocketPath, Assert.IsType<HostOwner>(owner).SocketPath);
        Assert.Same(owner, await _selection.FindAsync(Token));
    }

    [Fact]
    public async Task A_named_host_that_is_silent_is_an_error()
    {
        _named = _host.Address.SocketPath;

        Assert.Equal(
            HostErrors.NotRunning, (await Assert.ThrowsAsync<BlockException>(() => _selection.FindAsync(Token).AsTask())).Kind);
    }

    [Fact]
    public async Task A_relative_path_lies_in_the_shells_folder_and_goes_on_meaning_the_same_host()
    {
        _host.Start();
        _named = "./host.sock";

        IDiskOwner owner = await _selection.FindAsync(Token, Path.GetDirectoryName(_host.Address.SocketPath));

        Assert.Equal(_host.Address.SocketPath, Assert.IsType<HostOwner>(owner).SocketPath);
        Assert.Same(owner, await _selection.FindAsync(Token, "/"));
    }

    [Fact]
    public async Task A_relative_path_without_a_folder_is_refused()
    {
        _named = "./host.sock";

        Assert.Equal(
            BlockErrors.InvalidArgument, (await Assert.ThrowsAsync<BlockException>(() => _selection.FindAsync(Token).AsTask())).Kind);
    }

    [Fact]
    public async Task A_connected_host_comes_before_the_environment_until_it_is_left()
    {
        _host.Start();
        _named = "none";

        HostInfo info = await _selection.ConnectAsync(_host.Address.SocketPath, Token);

        Assert.Equal(_host.Address.SocketPath, info.SocketPath);
        Assert.Equal(HostProtocol.Version, info.ProtocolVersion);
        Assert.IsType<HostOwner>(await _selection.FindAsync(Token));
        Assert.Equal(_host.Address.SocketPath, await _selection.DisconnectAsync());
        Assert.Same(_local, await _selection.FindAsync(Token));
        Assert.Null(await _selection.DisconnectAsync());
    }

    [Fact]
    public async Task A_connection_that_fails_changes_nothing()
    {
        _named = "none";

        await Assert.ThrowsAsync<BlockException>(() => _selection.ConnectAsync(_host.Address.SocketPath, Token).AsTask());

        Assert.Null(_selection.ConnectedPath);
        Assert.Same(_local, await _selection.FindAsync(Token));
    }

    public async ValueTask DisposeAsync()
    {
        await _selection.DisposeAsync();
        await _host.DisposeAsync();
        _folder.Dispose();
    }
}
