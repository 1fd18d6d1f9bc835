// SPDX-License-Identifier: MIT
using System.Reflection;
using Fleece.Hosting.Control;

namespace Fleece.Hosting.Tests.Control;

/// <summary>The interfaces that are the protocol between a host and its clients.</summary>
public sealed class ProtocolTests
{
    private static readonly Type[] Contracts =
    [
        typeof(IDiskControl), typeof(ISessionControl), typeof(IBitmapControl), typeof(IExportControl), typeof(IJobControl),
        typeof(IHostControl), typeof(IGuestControl), typeof(IMetricControl),
    ];

    [Fact]
    public void Each_request_has_a_name_of_its_own_because_one_connection_takes_them_all()
    {
        string[] names = [.. Contracts.SelectMany(contract => contract.GetMethods()).Select(method => method.Name)];

        Assert.Equal(names.Length, names.Distinct().Count());
    }

    [Fact]
    public void Each_request_can_be_cancelled() =>
        Assert.All(Contracts.SelectMany(contract => contract.GetMethods()), (MethodInfo method) =>
            Assert.Equal(typeof(CancellationToken), method.GetParameters()[^1].ParameterType));
}
