// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Disks.Records;
using Fleece.Hosting.Control;
using Fleece.Images;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.Host;

/// <summary>Which files a host opens for its clients.</summary>
public sealed class PathTests : IAsyncDisposable
{
    private readonly HostRig _rig = new();

    [Theory]
    [InlineData("web.raw")]
    [InlineData("./web.raw")]
    [InlineData("/vm/../etc/web.raw")]
    [InlineData("/vm/./web.raw")]
    public async Task A_path_that_is_not_absolute_and_plain_is_refused(string path)
    {
        await _rig.StartAsync();
        TestClient client = await _rig.ConnectAsync();

        await RefusesAsync(() => client.MountAsync(path));
    }

    [Fact]
    public async Task An_image_inside_an_allowed_folder_is_mounted_and_one_outside_is_not()
    {
        TestClient client = await StartAsync();
        string inside = await AddAsync("vm/web.raw");
        string outside = await AddAsync("other/db.raw");
        string besides = await AddAsync("vm2/db.raw");

        await client.MountAsync(inside);

        await RefusesAsync(() => client.MountAsync(outside));
        await RefusesAsync(() => client.MountAsync(besides));
    }

    [Fact]
    public async Task A_symbolic_link_counts_as_the_place_that_it_leads_to()
    {
        TestClient client = await StartAsync();
        string outside = await AddAsync("other/db.raw");
        string inside = await AddAsync("vm/web.raw");
        File.CreateSymbolicLink(_rig.Folder.File("vm/file"), outside);
        Directory.CreateSymbolicLink(_rig.Folder.File("vm/folder"), "../other");
        Directory.CreateSymbolicLink(_rig.Folder.File("vm/circle"), "circle");
        File.CreateSymbolicLink(_rig.Folder.File("vm/good"), "web.raw");
        File.CreateSymbolicLink(_rig.Folder.File("other/into"), inside);

        await RefusesAsync(() => client.MountAsync(_rig.Folder.File("vm/file")));
        await RefusesAsync(() => client.MountAsync(_rig.Folder.File("vm/folder/db.raw")));
        await RefusesAsync(() => client.MountAsync(_rig.Folder.File("vm/circle/db.raw")));

        // Its bitmaps would lie beside the link.
        await RefusesAsync(() => client.MountAsync(_rig.Folder.File("other/into")));
        await client.MountAsync(new MountRequest { Address = _rig.Folder.File("vm/good"), Format = ImageFormat.Raw });
    }

    [Fact]
    public async Task An_allowed_folder_may_be_a_link_itself()
    {
        await AddAsync("vm/web.raw");
        Directory.CreateSymbolicLink(_rig.Folder.File("link"), "vm");
        await _rig.StartAsync(null, _rig.Folder.File("link"));
        TestClient client = await _rig.ConnectAsync();

        await client.MountAsync(_rig.Folder.File("link/web.raw"));
    }

    [Fact]
    public async Task Sockets_temp_images_and_certificates_lie_in_allowed_folders_too()
    {
        TestClient client = await StartAsync();
        string image = await AddAsync("vm/web.raw");
        DiskReference disk = new("web");
        ListenRequest outside = new() { ListenUri = $"nbd+unix:///?socket={_rig.Folder.File("other/web.sock")}" };
        ListenRequest besideControl = new() { ListenUri = $"nbd+unix:///?socket={_rig.Folder.File("run/web.sock")}" };
        TlsFiles keys = new() { CertificatePath = _rig.Folder.File("other/key.pem") };

        await RefusesAsync(() => client.MountAsync(new MountRequest { Address = image, Listeners = [outside] }));
        await RefusesAsync(() => client.MountAsync(new MountRequest { Address = image, Tls = keys }));
        await RefusesAsync(() => client.MountAsync($"nbd+unix:///x?socket={_rig.Folder.File("other/nbd.sock")}"));
        await client.MountAsync(image);
        await RefusesAsync(() => client.CallAsync<ExportInfo>(nameof(IExportControl.PublishAsync), new { disk, request = outside }));
        await RefusesAsync(() => client.CallAsync<IReadOnlyList<SessionInfo>>(
            nameof(ISessionControl.StartSessionsAsync),
            new { request = new SessionRequest { Disks = [disk], TempPath = _rig.Folder.File("other/temp.qcow2") } }));
        await RefusesAsync(() => client.CallAsync<SessionInfo>(
            nameof(IJobControl.BeginJobSessionAsync), new { request = new SessionRequest { Disks = [disk], TempPath = "temp.qcow2" } }));

        await client.CallAsync<ExportInfo>(nameof(IExportControl.PublishAsync), new { disk, request = besideControl });
        Assert.Empty(_rig.Mounted.Sessions);
    }

    [Fact]
    public async Task An_image_whose_parent_lies_outside_the_folders_is_closed_again()
    {
        Peer.Need("qemu-img");
        TestClient client = await StartAsync();
        string parent = await AddAsync("other/base.raw");
        string child = _rig.Folder.File("vm/web.qcow2");
        await Peer.RunAsync("qemu-img", "create", "-q", "-f", "qcow2", "-b", parent, "-F", "raw", child);

        await RefusesAsync(() => client.MountAsync(child));

        Assert.Empty(_rig.Mounted.All);
    }

    [Theory]
    [InlineData("base.raw")]
    [InlineData("below/base.raw")]
    public async Task A_parent_in_the_images_own_folder_that_is_a_link_leading_outside_is_refused(string name)
    {
        Peer.Need("qemu-img");
        TestClient client = await StartAsync();
        string parent = _rig.Folder.File("vm/" + name);
        string outside = await AddAsync("other/base.raw");
        Directory.CreateDirectory(Path.GetDirectoryName(parent)!);
        File.CreateSymbolicLink(parent, outside);
        string child = _rig.Folder.File("vm/web.qcow2");
        await Peer.RunAsync("qemu-img", "create", "-q", "-f", "qcow2", "-b", parent, "-F", "raw", child);

        await RefusesAsync(() => client.MountAsync(child));

        Assert.Empty(_rig.Mounted.All);
    }

    [Fact]
    public async Task A_temp_image_whose_parent_lies_outside_the_folders_is_refused()
    {
        Peer.Need("qemu-img");
        TestClient client = await StartAsync();
        await client.MountAsync(await AddAsync("vm/web.raw"));
        string parent = await AddAsync("other/base.raw");
        string temp = _rig.Folder.File("vm/temp.qcow2");
        await Peer.RunAsync("qemu-img", "create", "-q", "-f", "qcow2", "-b", parent, "-F", "raw", temp);
        SessionRequest request = new() { Disks = [new DiskReference("web")], TempPath = temp };

        await RefusesAsync(() => client.CallAsync<SessionInfo>(nameof(IJobControl.BeginJobSessionAsync), new { request }));
        await RefusesAsync(() =>
            client.CallAsync<IReadOnlyList<SessionInfo>>(nameof(ISessionControl.StartSessionsAsync), new { request }));

        Assert.Empty(_rig.Mounted.Sessions);
        Assert.True(File.Exists(temp));
    }

    // As when a folder on the way is changed between the check of the path and the opening.
    [Fact]
    public async Task A_temp_file_that_is_made_outside_the_folders_is_removed_again()
    {
        TestClient client = await StartAsync();
        await client.MountAsync(await AddAsync("vm/web.raw"));
        Directory.CreateSymbolicLink(_rig.Folder.File("vm/temp"), _rig.Folder.File("other"));

        foreach (string path in new[] { "vm/temp", "vm/temp/new.qcow2" })
        {
            SessionRequest request = new() { Disks = [new DiskReference("web")], TempPath = _rig.Folder.File(path) };
            await RefusesAsync(() => _rig.Host.Owner.Sessions.StartSessionsAsync(request, TestContext.Current.CancellationToken).AsTask());
        }

        Assert.Empty(Directory.GetFiles(_rig.Folder.File("other")));
        Assert.Empty(_rig.Mounted.Sessions);
    }

    // As when the link is changed between the check of the path and the opening: the owner of the disks gets the path unchecked.
    [Fact]
    public async Task An_image_that_leads_outside_by_the_time_it_is_opened_is_refused_and_not_written()
    {
        await StartAsync();
        string link = _rig.Folder.File("vm/web.vhdx");
        string outside = _rig.Folder.File("other/db.vhdx");
        await Image.CreateAsync(
            outside, new ImageCreateOptions { Format = ImageFormat.Vhdx, SizeBytes = 8 << 20 }, TestContext.Current.CancellationToken);
        byte[] before = await File.ReadAllBytesAsync(outside, TestContext.Current.CancellationToken);
        File.CreateSymbolicLink(link, outside);

        await RefusesAsync(async () =>
            await _rig.Host.Owner.Disks.MountAsync(new MountRequest { Address = link }, TestContext.Current.CancellationToken));

        Assert.Equal(before, await File.ReadAllBytesAsync(outside, TestContext.Current.CancellationToken));
        Assert.Empty(_rig.Mounted.All);
    }

    [Fact]
    public async Task A_user_who_is_not_the_owner_gets_the_rules_for_strangers_images()
    {
        ThreadUser.Need();
        Peer.Need("qemu-img");
        await _rig.StartAsync(group: "54321");
        _rig.OpenTheFolder();
        string parent = await AddAsync("other/base.raw");
        Directory.CreateDirectory(_rig.Folder.File("vm"));
        string child = _rig.Folder.File("vm/web.qcow2");
        await Peer.RunAsync("qemu-img", "create", "-q", "-f", "qcow2", "-b", parent, "-F", "raw", child);
        TestClient member = _rig.Open(ThreadUser.Run(ThreadUser.Nobody, [54321], _rig.Connect));
        await member.HelloAsync();
        TestClient owner = await _rig.ConnectAsync();

        BlockException refused = await Assert.ThrowsAsync<BlockException>(() => member.MountAsync(child));
        await owner.MountAsync(child);

        Assert.Equal(ImageErrors.ReferenceRefused, refused.Kind);
        Assert.Contains("as with -Untrusted", refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("Leave -Untrusted out", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_member_who_allows_a_data_file_is_told_the_hosts_rule_and_not_of_a_parameter_that_was_not_given()
    {
        ThreadUser.Need();
        await _rig.StartAsync(group: "54321");
        _rig.OpenTheFolder();
        string image = await AddAsync("web.raw");
        TestClient member = _rig.Open(ThreadUser.Run(ThreadUser.Nobody, [54321], _rig.Connect));
        await member.HelloAsync();

        BlockException refused = await Assert.ThrowsAsync<BlockException>(
            () => member.MountAsync(new MountRequest { Address = image, AllowsOutsideDataFile = true }));

        Assert.Equal(ImageErrors.ReferenceRefused, refused.Kind);
        Assert.Contains("members of its group", refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("Leave one of them out", refused.Message, StringComparison.Ordinal);
    }

    public ValueTask DisposeAsync() => _rig.DisposeAsync();

    private static async Task RefusesAsync(Func<Task> request)
    {
        BlockException refused = await Assert.ThrowsAsync<BlockException>(request);
        Assert.Equal(HostErrors.PathRefused, refused.Kind);
    }

    private async Task<TestClient> StartAsync()
    {
        Directory.CreateDirectory(_rig.Folder.File("vm"));
        Directory.CreateDirectory(_rig.Folder.File("other"));
        await _rig.StartAsync(null, _rig.Folder.File("vm"));
        return await _rig.ConnectAsync();
    }

    private async Task<string> AddAsync(string name)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(_rig.Folder.File(name))!);
        return await _rig.AddImageAsync(Path.ChangeExtension(name, null));
    }
}
